"""Manifests: records of utterances and pairs, read, checked and written."""
