"""Runs notebooks and keeps their outputs, small: `python -m tests.notebooks.refresh [NAME...]`.

What is printed stays, pictures are drawn small and without shades, sound and what goes to standard error are left out.
"""

import base64
import io
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[2] / "notebooks"
SUBJECTS = ("score_and_hear", "compare_two_systems", "evaluate_and_rank", "train_on_your_ratings", "use_as_a_loss")
MOST_BYTES = 4096
_COLOURS, _SCALES = (64, 16, 12, 9), (1.0, 0.9, 0.8, 0.7)
# Without the shades of edges, a picture is a third as large.
_STYLE = "figure.dpi: 60\n" + "".join(f"{name}.antialiased: False\n" for name in ("text", "lines", "patch"))


def execute(path: Path, shorter: tuple[str, str] = ("", "")) -> nbformat.NotebookNode:
    """The notebook, run from nothing in its own folder. `shorter`: a text of it, and what is run in its place."""
    notebook = nbformat.read(path, 4)
    assert any(shorter[0] in cell.source for cell in notebook.cells), f"{path} has no {shorter[0]}"
    for cell in notebook.cells:
        cell.source = cell.source.replace(*shorter) if shorter[0] else cell.source
        cell.pop("outputs", None) if cell.cell_type == "markdown" else cell.update(outputs=[])
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def kept(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output as the repository keeps it, or None."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if not (png := output.get("data", {}).get("image/png")):
        return None
    output = nbformat.from_dict({**output, "metadata": {}})
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    for scale, colours, commonest in itertools.product(_SCALES, _COLOURS, (True, False)):
        scaled = picture.resize([round(scale * side) for side in picture.size], Image.Resampling.BOX)
        found = sorted(scaled.getcolors(scaled.width * scaled.height), reverse=True)
        palette = Image.new("P", (1, 1))
        palette.putpalette([value for _, colour in found[:colours] for value in colour])
        how = {"palette": palette} if commonest else {"colors": colours, "method": Image.Quantize.FASTOCTREE}
        file = io.BytesIO()
        scaled.quantize(dither=Image.Dither.NONE, **how).save(file, "PNG", optimize=True)
        output.data = {"image/png": base64.b64encode(file.getvalue()).decode()}
        if len(json.dumps(output)) <= MOST_BYTES:
            return output
    return None


def refresh(path: Path) -> None:
    """Runs it, and writes it with its outputs."""
    write(execute(path), path)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Writes a notebook with its outputs as they are kept."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in map(kept, cell.outputs) if one is not None]
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    style = Path(tempfile.mkdtemp(), "matplotlibrc")
    style.write_text(_STYLE)
    os.environ["MATPLOTLIBRC"] = str(style)
    for name in sys.argv[1:] or SUBJECTS:
        refresh(FOLDER / f"{name}.ipynb")
        print(name, flush=True)
