"""What a request may take of the service, and how one that is not answered with rows is refused."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """Bounds of the service; with all of them its memory is bounded.

    Attributes:
        max_bytes: Of the body of a request.
        max_seconds: Of audio in a request.
        max_files: Recordings or pairs in a request.
        queue: Requests at a time, from their first byte to the last of their answer; more are refused with 503.
        timeout_seconds: For a request to arrive, and as many to be answered.
        delay_seconds: How long a recording waits for others to share its batch.
    """

    max_bytes: int = 64 << 20
    max_seconds: float = 600.0
    max_files: int = 1000
    queue: int = 64
    timeout_seconds: float = 60.0
    delay_seconds: float = 0.01

    @property
    def max_held_bytes(self) -> int:
        """Of the bodies of all requests that are not decoded yet."""
        return 8 * self.max_bytes

    @property
    def max_waiting_seconds(self) -> float:
        """Of decoded audio that waits for the model."""
        return 4 * self.max_seconds


@dataclass(eq=False)
class Refused(Exception):
    """A request that gets no rows.

    Attributes:
        status: Of HTTP.
        code: A word for programs.
        message: A sentence that says what to do.
        headers: More headers of the answer.
    """

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    @property
    def content(self) -> dict[str, dict[str, str]]:
        """The body of its answer."""
        return {"error": {"code": self.code, "message": self.message}}


def busy(message: str) -> Refused:
    """503, to be tried again after a second."""
    return Refused(503, "busy", message, {"Retry-After": "1"})


def too_large(message: str) -> Refused:
    """413."""
    return Refused(413, "too_large", message)


def bad_request(message: str) -> Refused:
    """400: it cannot be read."""
    return Refused(400, "bad_request", message)


def unprocessable(message: str) -> Refused:
    """422: it can be read, and asks for what there is not."""
    return Refused(422, "unprocessable", message)
