"""Recordings: files and arrays to mono float32 at 16 kHz, or an error with a code."""
