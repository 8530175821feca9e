"""The network, its freezing, its file. Knows nothing of data sets."""
