"""Pixels on disk and what is known of them: index, fingerprints, leak gate, split, classes. No torch."""
