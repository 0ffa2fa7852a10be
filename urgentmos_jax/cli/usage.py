"""Wrong usage of the command."""

__all__ = ["UsageError"]


class UsageError(Exception):
    """Wrong usage; the message says what to do. The exit status is 2."""
