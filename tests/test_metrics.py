"""The catalogue of metrics."""

import math

import pytest

from urgentmos_jax.metrics import CATALOGUE, CATEGORIES

# The authors' 28 names, then ours.
NAMES = [
    "distill_mos", "dnsmos_ovrl", "estoi", "lps", "lsd", "mcd", "nisqa_mos", "pesqc2", "pesq", "sbert", "scoreq", "sdr",
    "sigmos_col", "sigmos_disc", "sigmos_loud", "sigmos_noise", "sigmos_ovrl", "sigmos_reverb", "sigmos_sig", "spksim",
    "utmos", "mos_overall", "mos_naturalness", "mos_prosody", "mos_quality", "mos_expressiveness", "mos_fluency",
    "mos_paralinguistic",
    "mos_signal", "mos_background", "mos_noisiness", "mos_coloration", "mos_discontinuity", "mos_loudness",
    "dnsmos_sig", "dnsmos_bak", "dnsmos_p808", "plcmos", "stoi", "si_sdr",
]  # fmt: skip


def test_every_name_is_known():
    assert sorted(CATALOGUE) == sorted(NAMES) and len(NAMES) == 28 + 12


@pytest.mark.parametrize("name", NAMES)
def test_entries_make_sense(name):
    metric = CATALOGUE[name]
    assert metric.minimum < metric.maximum and metric.category in CATEGORIES and metric.description
    assert metric.human == name.startswith("mos_") and not (metric.human and metric.needs_reference)


def test_ranges_and_directions():
    assert {name for name, metric in CATALOGUE.items() if not metric.higher_is_better} == {"lsd", "mcd"}
    assert (CATALOGUE["pesq"].minimum, CATALOGUE["pesq"].maximum) == (1, 4.5)
    assert CATALOGUE["sdr"].maximum == CATALOGUE["mcd"].maximum == math.inf
    assert CATALOGUE["lps"].minimum == -math.inf and CATALOGUE["sbert"].minimum == -1
    with pytest.raises(TypeError):
        CATALOGUE["pesq"] = None
