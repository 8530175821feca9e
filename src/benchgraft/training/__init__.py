"""One training run: batches, features, loop, checkpoint, evaluation."""
