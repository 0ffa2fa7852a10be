"""How many recordings that cannot be read may be left out before a command stops."""

MAX_BAD_FRACTION = 0.01


def max_bad(count: int, fraction: float = MAX_BAD_FRACTION) -> int:
    """How many of `count` recordings may be bad where bad ones are left out: one always may, never all."""
    return max(0, min(max(1, int(fraction * count)), count - 1))
