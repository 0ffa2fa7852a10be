"""Evaluation of predictions against labels."""
