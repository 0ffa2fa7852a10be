"""Tables of cells as text and as Markdown."""

from collections.abc import Sequence

__all__ = ["markdown_table", "text_table"]


def text_table(rows: Sequence[Sequence[str]], texts: int) -> str:
    """Columns of equal width.

    Args:
        rows: Cells, the header first.
        texts: So many columns are text, and start at the left; the others are numbers, and end at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]], texts: int) -> str:
    """The same in Markdown."""
    header, *body = rows
    rule = ["---" if place < texts else "--:" for place in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *body)
    )
