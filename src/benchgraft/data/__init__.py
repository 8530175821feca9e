"""Images: readers, store, classes, split. No torch."""
