"""Published sizes on slices of TPUs: the training step compiled for each, what fits and what it exchanges.

Nothing runs, no TPU is needed. Every compiled step is kept in a file of its own below --cache, so that a stopped run
goes on where it was.
"""

import dataclasses
import importlib
import json
from collections.abc import Iterator
from typing import Any

from launch.benchmark.measuring import tell
from launch.benchmark.settings import Settings
from urgentmos_jax.accelerators.chips import Slice, libtpu_version
from urgentmos_jax.accelerators.plan import Plan
from urgentmos_jax.accelerators.work import Work
from urgentmos_jax.files import write_text
from urgentmos_jax.training.config import TrainConfig, read_config
from urgentmos_jax.training.slices import plan_run

TOPOLOGIES = ("v5e:4x4", "v5p:2x4x4", "v6e:8x8", "v5e:16x16")
# Name, config, whether its encoders are trained too, and whether parameters are spread over the chips.
RUNS = (
    ("F1C1M5", "f1c1m5_d_corpus", False, False),
    ("F1C5M15", "f1c5m15", False, False),
    ("F1C1M5, encoder trained", "f1c1m5_d_corpus", True, False),
    ("F4C1M5", "f4c1m5_d_ref", False, False),
    ("F4C1M5, encoders trained", "f4c1m5_d_ref", True, True),
)
# Of a chip, as published for a GPU.
SECONDS, CLIPS = 300.0, 32
# One after the other until a step fits: remat, longest clip, part of the batch. An update sees as much all the same.
RUNGS = ((False, 60.0, 1), (True, 30.0, 1), (True, 30.0, 2), (True, 30.0, 4), (True, 30.0, 8))


def measure(settings: Settings) -> dict[str, Any]:
    """Compiles one step after the other; returns rows of the table, which is printed as they come.

    The ladder on a larger slice begins where it ended on a smaller one of the same chips.
    """
    if settings.cache is None:
        raise SystemExit("launch.benchmark slices: give --cache DIR, where compiled steps are noted")
    settings.cache.mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    missing = []
    begin: dict[tuple[str, str], int] = {}
    for name, config, trained, spread, topology in _cases():
        where = Slice.parse(topology)
        for number in range(begin.get((name, where.kind), 0), len(RUNGS)):
            run = configured(config, where, RUNGS[number], trained=trained, spread=spread)
            if run is None:
                continue
            key = f"{name} {topology} {number} {settings.effort:g}".replace(" ", "_").replace(",", "").replace(":", "_")
            plan = _kept(settings, key, run, where)
            if plan is None:
                missing.append(f"{name} on {topology}")
                break
            rows.append(table_row(name, RUNGS[number], plan))
            tell(rows[-1])
            settings.partial({"rows": rows})
            if plan.fits:
                begin[name, where.kind] = number
                break
    return {"libtpu": libtpu_version(), "effort": settings.effort, "rows": rows, "missing": missing}


def _cases() -> Iterator[tuple[str, str, bool, bool, str]]:
    for topology in TOPOLOGIES:
        for run in RUNS:
            yield (*run, topology)


def configured(
    config: str, where: Slice, rung: tuple[bool, float, int], *, trained: bool, spread: bool
) -> TrainConfig | None:
    """The run on a slice, by what a rung changes; None where that changes nothing."""
    remat, longest, part = rung
    values = importlib.import_module(f"configs.{config}").get_config()
    if longest > values.data.max_seconds:
        return None
    values.data.max_seconds = longest
    values.update(precision="bfloat16", remat=remat)
    values.mesh.fully_sharded = spread
    clips = max(1, CLIPS // part)
    values.batch.update(seconds=SECONDS * where.chips / part, clips=clips * where.chips, accumulate=part)
    if trained:
        for encoder in values.model.encoders.values():
            encoder.update(freeze=False, dtype="float32")
    return read_config(values)


def _kept(settings: Settings, key: str, run: TrainConfig, where: Slice) -> Plan | None:
    """The plan, from its file or compiled; None where the time is over."""
    assert settings.cache is not None
    path = settings.cache / f"{key}.json"
    if path.exists():
        values = json.loads(path.read_text(encoding="utf-8"))
        return Plan(**values | {"work": Work(**values["work"]), "host": tuple(values["host"])})
    if settings.time_is_over():
        return None
    tell(f"compiling {key}")
    plan = plan_run(run, where, "largest", options={"exec_time_optimization_effort": settings.effort})
    write_text(path, json.dumps(dataclasses.asdict(plan), indent=1) + "\n")
    return plan


def table_row(name: str, rung: tuple[bool, float, int], plan: Plan) -> str:
    """A row of the table in Markdown."""
    remat, _, part = rung
    settings = ", ".join(filter(None, ["remat" if remat else "", f"accumulate={part}" if part > 1 else ""])) or "-"
    told = "; ".join(f"{number} {kind}, {size / 1e6:,.0f} MB" for kind, (number, size) in plan.exchanged.items())
    fits = "yes" if plan.fits else "no"
    memory = f"{plan.memory / 2**30:.1f} of {plan.limit / 2**30:.1f}"
    rate = f"{plan.audio_rate:,.0f}" if plan.fits else "-"
    mesh = " x ".join(str(size) for size in plan.mesh.values())
    cells = (name, plan.topology, mesh, plan.batch.removesuffix(", the largest"), settings, memory, fits, told or "-")
    return f"| {' | '.join((*cells, f'{1e3 * plan.min_seconds:,.0f}', rate))} |"
