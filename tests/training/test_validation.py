"""Validation by hand: the accuracies of pairs."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.corpus import tiny_config
from urgentmos_jax.scoring.rows import Compared, Scored
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.validation import ValidationSet, format_table, validate

# CMOS, p of A, of B, of a tie; the label.
PAIRS = (
    (0.4, 0.6, 0.1, 0.3, 1.0),  # The head says A, the CMOS a tie.
    (0.9, 0.3, 0.5, 0.2, -0.6),  # The head says B, the CMOS A.
    (0.1, 0.2, 0.1, 0.7, 0.5),  # A tie, as exactly 0.5.
    (-0.8, 0.1, 0.8, 0.1, 0.0),  # B, where there is a tie.
)


class Listener:
    """Says of each pair what stands above."""

    def assess(self, paths, pairs, uids):
        for index, path in enumerate(paths):
            yield Scored(index, {"uid": path, "scores": {"mos_overall": 3.0 + index}, "error": None})
        for index, (cmos, a, b, tie, _) in enumerate(PAIRS):
            row = {"cmos": cmos, "p_a": a, "p_b": b, "p_tie": tie}
            yield Compared(index, {"comparison": {"mos_overall": row}, "error": None})


def test_accuracies_of_pairs():
    names = [f"{index}" for index in range(5)]
    data = SimpleNamespace(
        uids=names,
        paths=names,
        systems=names,
        metrics=["mos_overall"],
        comparative=["mos_overall"],
        labels=np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]),
    )
    labels = np.array([[label] for *_, label in PAIRS])
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    found = validate(Listener(), [ValidationSet("mine/dev", data, pairs, labels)])
    values = found["mine/dev"]["mos_overall"]
    assert (values["acc_0.5"], values["acc_0"]) == (3 / 4, 1)
    assert (values["pairs"], values["pair_accuracy"]) == (3, 2 / 3) and values["srcc"] == pytest.approx(1)
    header, line = (row.split() for row in format_table(found).splitlines())
    assert dict(zip(header, line, strict=True))["acc_0.5"] == "0.750"


@pytest.mark.parametrize("statistic", ["acc_0.5", "acc_0"])
def test_the_best_checkpoint_may_be_that_of_the_accuracy_of_the_paper(tmp_path, statistic):
    values = tiny_config(tmp_path)
    values.best = f"mine/dev/mos_overall/{statistic}"
    assert read_config(values).best.endswith(statistic)
