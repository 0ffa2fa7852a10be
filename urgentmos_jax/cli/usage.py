"""Wrong usage of the command."""


class UsageError(Exception):
    """Wrong usage; the message says what to do. The exit status is 2."""
