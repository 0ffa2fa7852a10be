"""Pictures, and what they leave alone."""

import matplotlib
import numpy as np

from urgentmos_jax.evaluation.plots import frame_scores, predicted_against_true


def test_the_backend_of_the_caller_stays(tmp_path):
    before = matplotlib.get_backend()
    matplotlib.use("pdf")
    try:
        predicted_against_true(tmp_path / "a.png", {"mos": ([1.0, 2.0], [1.5, 2.5])}, [["noise", "codec"]])
        frame_scores(tmp_path / "b.png", {"clip": (np.zeros(800), [1.0, 2.0])}, sample_rate_hz=16000, metric="mos")
        assert matplotlib.get_backend() == "pdf"
    finally:
        matplotlib.use(before)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))
