"""Why a clip cannot be used."""

CODES = (
    *("missing", "empty", "undecodable", "truncated", "too_short", "non_finite", "too_large", "unreadable_input"),
    "crashed",
)


class AudioError(ValueError):
    """A clip that cannot be used.

    Attributes:
        code: One of `CODES`.
        message: A sentence with the path, what was found, what was expected and what to do.
        path: The file, the name given for an array, or None.
    """

    def __init__(self, code: str, message: str, path: str | None = None):
        super().__init__(code, message, path)  # All three in `args`, so that the error pickles.
        self.code, self.message, self.path = code, message, path

    def __str__(self) -> str:
        return self.message


def audio_error(code: str, name: str | None, text: str) -> AudioError:
    """An error of a file, or of an array of this name, with what was found and what to do."""
    return AudioError(code, f"{name or 'array'}: {text}", name)
