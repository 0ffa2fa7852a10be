"""Submissions to challenges."""
