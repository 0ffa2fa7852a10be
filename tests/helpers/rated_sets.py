"""The two sets of real listeners' ratings that the project is developed with: where they are, and their columns."""

from pathlib import Path

DATA = Path(__file__).parents[3] / "shared" / "data"
COLUMNS = {
    "p835-wb": ("--system", "condition", "--reference", "talker", "--metric", "mos_overall=mos_ovrl"),
    "codec-mushra": (
        *("--system", "condition", "--reference", "signal", "--metric", "mos_overall=ratings_0_to_100"),
        *("--scale", "0-100:1-5"),
    ),
}
