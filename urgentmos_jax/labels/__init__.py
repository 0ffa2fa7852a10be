"""Labels: objective quality metrics computed from audio."""
