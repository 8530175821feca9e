"""Reads run folders; tables, statistics, claims. No torch, no data set."""
