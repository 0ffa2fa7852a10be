"""Corpora: one module a source of recordings with labels."""
