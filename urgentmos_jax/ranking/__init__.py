"""Systems in order, with intervals."""
