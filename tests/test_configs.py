"""The configs: what their docstrings say of the paper, the recipe of the paper, and the whole step traced."""

import importlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from urgentmos_jax.corpora.paper import SETS, TRAINING
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.evaluation.paper import paper_values
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.config import differences, read_config
from urgentmos_jax.training.mesh import MeshConfig
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.training.step import TrainStep, _label_counts, make_optimizer, split_module

CONFIGS = sorted({path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py")} - {"common"})
ROWS = {
    "f1c1m1": "F1C1M1-ref",
    "f1c1m5_d_ref": "F1C1M5-ref",
    "f1c1m5_d_corpus": "F1C1M5-corpus",
    "f1c1m5_d_any": "F1C1M5-any",
    "f1c1m15": "F1C1M15-ref",
    "f1c5m15": "F1C5M15-ref",
    "f4c1m5_d_ref": "F4C1M5-ref",
}
SCOPES = {"f1c1m5_d_ref": "reference", "f1c1m5_d_corpus": "corpus", "f1c1m5_d_any": "any", "f1c5m15": "reference"}


def config_of(name: str, *recipe: str):
    return read_config(importlib.import_module(f"configs.{name}").get_config(*recipe))


@pytest.mark.parametrize("name", ROWS)
def test_every_number_of_a_docstring_is_the_papers(name: str):
    text, row = importlib.import_module(f"configs.{name}").__doc__, ROWS[name]
    assert re.search(r"row (\S+) of arXiv 2601\.18438 v1", text)[1] == row and f"--paper {row}\n" in text
    sets, found = {one.name for one in SETS.values()}, {}
    lines = [line.split() for line in text.splitlines()]
    for first, *cells in (line for line in lines if line and line[0] in sets):
        named = zip(("acc_0.5", "acc_0", "lcc", "srcc"), cells, strict=True)
        found |= {(first, statistic): float(cell) for statistic, cell in named if cell != "-"}
    main = [one for one in paper_values() if one.row == row and one.table in ("4/9", "5/10")]
    assert len(found) == 38 and found == {(one.set, one.statistic): one.value for one in main}
    speeds = {one.row: one.value for one in paper_values() if one.statistic == "iterations_per_second"}
    said, v1, interspeech = re.search(
        r"Cost: ([\d.]+) iterations .* 20,000 take\s+([\d.]+)\s+h,\s+60,000\s+([\d.]+)\s+h", text, re.DOTALL
    ).groups()
    speed = speeds.get(row) or speeds[re.search(r"as (\S+)\):", text)[1]]
    assert float(said) == speed
    assert (v1, interspeech) == tuple(f"{updates / speed / 3600:.1f}" for updates in (20_000, 60_000))
    # Nothing else is written as a statistic is.
    table = [cell for line in lines if line and line[0] in sets for cell in line]
    others = set(re.findall(r"(?<![\d.])\d*\.\d\d\b", text)) - set(table) - {said, ".02", ".06"}
    assert not others
    assert f"configs/{name}.py:paper" in text and "thirteen corpora" in " ".join(text.split())


def test_a_config_that_is_no_row_says_on_what_it_rests():
    text = importlib.import_module("configs.f1c3m15").__doc__
    assert "Not a row of the paper's v1" in text and "digest of the Interspeech version" in text
    assert not re.search(r"\b0\.\d\d\b", text)
    assert set(CONFIGS) - ROWS.keys() == {"compact", "demo", "f1c3m15", "urgentmos_small"}


def test_metrics_are_those_of_table_1():
    five, one = (config_of(name).model for name in ("f1c5m15", "f1c1m15"))
    assert {name: set(metrics) for name, metrics in five.categories.items()} == {
        "noise_distortion": {"pesq", "pesqc2", "dnsmos_ovrl", "lsd", "sdr"},
        "naturalness": {"mos_overall", "utmos", "distill_mos", "nisqa_mos", "scoreq"},
        "intelligibility": {"estoi", "sbert", "lps"},
        "speaker_characteristics": {"spksim"},
        "spectral_accuracy": {"mcd"},
    }
    assert len(one.categories) == 1 and dict(one.metrics) == dict(five.metrics) and len(one.metrics) == 15
    assert one.comparative_metrics == five.comparative_metrics == ("mos_overall",)
    assert five.category_of("mos_overall") == "naturalness"
    for name, metric in five.metrics.items():
        assert (metric.minimum, metric.maximum) == (CATALOGUE[name].minimum, CATALOGUE[name].maximum)


@pytest.mark.parametrize("name", [*ROWS, "f1c3m15"])
def test_recipes(name: str):
    code, paper = config_of(name), config_of(name, "paper")
    assert (code.batch.seconds, code.batch.clips, code.epochs, code.updates) == (300, 32, 100, 0)
    assert (code.optimizer.schedule, code.loss.mean_over) == ("linear", "categories")
    assert (paper.batch.seconds, paper.epochs, paper.updates) == (400, 0, 20_000)
    assert (paper.optimizer.schedule, paper.loss.mean_over) == ("constant", "metrics")
    assert {source.removesuffix("/train") for source in paper.data.train} == TRAINING.keys()
    assert len(paper.data.train) == 13 and set(code.data.train) < set(paper.data.train)
    assert code.model == paper.model
    if name in SCOPES:
        assert code.data.pairing_scope == paper.data.pairing_scope == SCOPES[name]
    elif name == "f1c1m1":
        assert (code.data.pairing_scope, paper.data.pairing_scope) == ("corpus", "reference")
    with pytest.raises(ValueError, match="recipe is 'papre', must be one of code, paper"):
        config_of(name, "papre")


def test_runs_from_before_the_key_average_over_categories():
    values = importlib.import_module("configs.f1c5m15").get_config().to_dict()
    before = values | {"loss": {key: one for key, one in values["loss"].items() if key != "mean_over"}}
    assert differences(before, values) == [] and read_config(before) == read_config(values)
    paper = values | {"loss": values["loss"] | {"mean_over": "metrics"}}
    assert differences(before, paper) == ["loss.mean_over: 'categories' -> 'metrics'"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_whole_step_is_traced(name: str):
    """Losses, gradients and update of a batch of two pairs of a second, without computing anything."""
    config = config_of(name)
    model = with_sizes(config.model, offline=True)
    graph, trained, frozen = split_module(nnx.eval_shape(lambda: UrgentMOS(model, rngs=nnx.Rngs(0))))
    layout = Layout(MeshConfig(data=-1, model=1, fully_sharded=False), jax.devices()[:1])
    optimizer = make_optimizer(config.optimizer, config.updates or 10)
    step = TrainStep(graph, trained, model, optimizer, config.loss, layout, seed=0)
    metrics, compared = len(model.metrics), len(model.comparative_metrics)
    shapes = dict(
        waveform=((2, 2, 16000), jnp.float32),
        lengths=((2, 2), jnp.int32),
        labels=((2, 2, metrics), jnp.float32),
        label_mask=((2, 2, metrics), jnp.bool_),
        cmos=((2, compared), jnp.float32),
        cmos_mask=((2, compared), jnp.bool_),
    )
    batch = BatchArrays(states={}, **{name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()})
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    counts = jax.eval_shape(_label_counts, batch)
    total = jax.eval_shape(step._traced_part, step.abstract.trained, frozen, batch, counts, scalar, scalar)
    state, report = jax.eval_shape(step._traced_apply, step.abstract, total, counts)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), step.abstract
    )
    assert {f"error/{one}" for one in model.metrics} <= report.keys() and report["loss"].shape == ()
