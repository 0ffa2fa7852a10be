"""From lists of recordings to batches."""
