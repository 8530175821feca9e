"""Images as files -> packed store, split, classes. numpy and Pillow; no torch."""
