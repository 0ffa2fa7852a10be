"""Tables of cells as text and as Markdown: the one formatter of the package."""

from collections.abc import Collection, Sequence

_MIN_TEXT_WIDTH = 12


def text_table(rows: Sequence[Sequence[str]], text_columns: Collection[int], *, max_width: int | None = None) -> str:
    """Aligned columns, without a trailing newline.

    Args:
        rows: Cells, the header first.
        text_columns: Indices of the columns of text, which start at the left; the others are numbers, and end at the
            right.
        max_width: Width of the table in characters; the cells of the first text column are shortened to fit, to 12
            characters at least.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if max_width is not None:
        first = min(text_columns)
        room = max_width - (sum(widths) - widths[first] + 2 * (len(widths) - 1))
        widths[first] = min(widths[first], max(room, _MIN_TEXT_WIDTH))
    return "\n".join(
        "  ".join(
            shortened(cell, width).ljust(width) if index in text_columns else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]], text_columns: Collection[int]) -> str:
    """The same in Markdown."""
    header, *body = rows
    rule = ["---" if index in text_columns else "--:" for index in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *body)
    )


def shortened(name: str, width: int) -> str:
    """A name of at most `width` characters; the middle is left out, since names often differ at the end."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return name[:head] + "…" + name[len(name) - (width - 1 - head) :]
