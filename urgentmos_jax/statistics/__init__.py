"""Statistics of numbers alone."""
