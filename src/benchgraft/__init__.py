"""Train from scratch or transfer? Measures both on the same images."""
