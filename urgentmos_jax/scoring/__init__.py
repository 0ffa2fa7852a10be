"""The engine: recordings to scores and comparisons."""
