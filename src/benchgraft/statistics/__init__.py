"""Estimates with their intervals, tests, break-even: numbers in, numbers out. No torch, no run folder."""
