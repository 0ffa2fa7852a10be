"""Work of building blocks: two operations a multiply-add; softmax, norms and biases are left out."""

__all__ = ["stack_flops"]


def stack_flops(layers: int, width: int, feedforward: int, frames: int, *, attended: int | None = None) -> float:
    """Operations of transformer layers for one clip.

    Args:
        layers: Their number.
        width: Features.
        feedforward: Inner features of the feed-forward.
        frames: Of the clip.
        attended: Frames that each frame attends to; None = all.
    """
    attended = frames if attended is None else attended
    return 2.0 * layers * frames * (4 * width**2 + 2 * width * feedforward + 2 * attended * width)
