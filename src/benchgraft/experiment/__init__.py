"""Experiments declared in TOML, and how their stages and arms are carried out."""
