"""Speed and memory, measured here and now: `python -m launch.benchmark WHAT`, WHAT being one of these.

score: audio seconds a second over clips of a real distribution of lengths. Ours, the torch reference in batches of 32
by length, the same clip by clip, and a float32 matrix product take turns in each round, so that a machine whose speed
drifts is fair to all; medians and ratios are printed.

first: seconds from the start of a process to the first score, with an empty and with a filled compile cache.

runtimes: rows of 4 s, in batches and one by one, with ours, our export under ONNX Runtime and, with --against torch,
the torch reference as it is and compiled, in turns (pip install "urgentmos_jax[onnx]").

train: audio seconds a second of training steps on clips with random labels and pairs sampled from the corpus, in turns
with the torch reference on the same clips, labels and pairs; padding and shapes of the batches, loading alone.

step: one update with 8 clips of 4 s in 4 pairs, the encoder frozen: ours, ours with stored states of the encoder, and
the torch reference in turns; a checkpoint, and what its checksums take of it.

prepare: a corpus of --clips recordings (60000 are about PSTN) becomes a manifest; again with recordings 60 times as
long, since memory must not grow with audio.

evaluate: predictions of --clips clips (100000, say) of 50 systems against labels, all statistics with intervals.

evaluate-model: what `evaluate --model` takes for clips and their pairs over what it takes for the clips alone; each
recording is encoded once, so the aim is at most 1.15 times.

distill-mos: Distill-MOS and urgentmos-small over --clips clips against the loop of the package `distillmos`, each in a
process of its own, in turns; pip install torch && pip install --no-deps distillmos xls-r-sqa.

memory: peak memory of scoring and comparing 30 and 300 recordings of 2 minutes, 3 and 20 of 20 minutes, with a tiny
model; the aim is a ratio of at most 1.3.

rows: time and peak memory of `urgentmos score` on lists of 10,000, 30,000 and 100,000 rows that repeat a few short
files, with a tiny model (or --model); --plots DIR draws them.

serve: `urgentmos serve` with a tiny model (or --model) in a process of its own on loopback, one clip of 1 s a request:
200 requests a second for a minute, their p50 and p99; then 16 clients that wait for each answer, of this service and of
one that computes one by one, in turns.

serve-faults: 64 clients of the service at once, half of them cut off in the middle, some slow, while 10,000 damaged
requests come: how each is answered, and the memory of the service meanwhile.

ray: `urgentmos score --ray` on this machine against the plain command, rows a second once both compute, in turns.

gpu: scoring and updates of about 400 s of F1C1M5, and of F4C1M5 with random weights, in float32, TF32 and bfloat16, on
the first device; with --against torch the reference in the same precisions, and compiled, in turns. Speed, share of the
peak, memory, agreement with float32 on the CPU.

growth: what scoring costs by clips, by their length, by the batch and by devices (a CPU is cut into eight), and memory
by the batch, with the exponent of each curve; --plots DIR draws them.

slices: the training step of the published models compiled for slices of TPUs, of which none is needed (pip install
"urgentmos_jax[tpu-compile]"): memory, collectives and work of each. --cache DIR keeps what is compiled, hours in all;
--effort=-1 compiles quickest, and takes more memory.

Rounds, measurements and results so far are told on standard error, and --json holds them at any time. After --minutes
nothing new begins, and what is known is printed.

--against torch measures the torch reference in the same run. Without --model the published F1C1M5 architecture with
random weights is measured: speed does not depend on them.
"""

import json
import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging

from urgentmos_jax.files import write_text

_MODEL = flags.DEFINE_string("model", None, "Model folder; none: the published architecture, random weights.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The authors' model.pt that --model was made of, for torch.")
_ENCODER = flags.DEFINE_string("encoder", None, "Folder with the encoder's config, for --checkpoint.")
_AUDIO = flags.DEFINE_string("audio", None, "Folder of recordings; none: generated clips.")
_CLIPS = flags.DEFINE_integer("clips", 64, "Clips, at most.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds, each with one turn for everyone.", lower_bound=1)
_BATCH_SECONDS = flags.DEFINE_float("batch_seconds", None, "Audio a batch; none suits the device.")
_AGAINST = flags.DEFINE_enum("against", None, ["torch"], "Measure the torch reference in the same run.")
_CACHE = flags.DEFINE_string("cache", None, "Folder of what was measured before; a stopped run continues from it.")
_PLOTS = flags.DEFINE_string("plots", None, "Folder for plots of growth.")
_MINUTES = flags.DEFINE_float("minutes", None, "Begin no new round or measurement after so many.", lower_bound=0.0)
_EFFORT = flags.DEFINE_float(
    "effort", 0.0, "Of the compiler for TPUs: -1 is quickest.", lower_bound=-1.0, upper_bound=1.0
)
_JSON = flags.DEFINE_string("json", None, "Write the numbers to this file.")

BENCHMARKS = (
    *("score", "first", "runtimes", "train", "step", "prepare", "evaluate", "evaluate-model"),
    *("distill-mos", "memory", "rows", "serve", "serve-faults", "ray", "slices", "gpu", "growth"),
)


def main(argv: list[str]) -> None:
    """Runs one benchmark, and prints its numbers."""
    if len(argv) != 2 or argv[1] not in BENCHMARKS:
        raise app.UsageError(f"say what to measure: {', '.join(BENCHMARKS)}")
    from launch.benchmark.measuring import machine
    from launch.benchmark.settings import Settings
    from urgentmos_jax.accelerators.chips import without_devices

    logging.set_verbosity(logging.WARNING)  # Orbax tells of every array it writes.
    if argv[1] == "slices":
        without_devices()
    if argv[1] == "growth" and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", 8)
    of_here = machine()
    benchmark = import_module(f"launch.benchmark.{argv[1].replace('-', '_')}")
    with tempfile.TemporaryDirectory() as scratch:
        found = benchmark.measure(
            Settings(
                scratch=Path(scratch),
                **{one.name: one.value and Path(one.value) for one in (_MODEL, _CHECKPOINT, _ENCODER, _AUDIO)},
                **{one.name: one.value and Path(one.value) for one in (_CACHE, _PLOTS)},
                **{one.name: one.value for one in (_CLIPS, _ROUNDS, _BATCH_SECONDS, _MINUTES, _EFFORT)},
                against_torch=_AGAINST.value == "torch",
                partial=lambda found: _write({**of_here, **found, "partial": True}),
            )
        )
    found = {**of_here, **found}
    width = max(map(len, found))
    for name, value in found.items():
        if isinstance(value, float):
            value = f"{value:.3f}" if value >= 1e-3 else f"{value:.2g}"
        for one in value if isinstance(value, list) else [value]:
            print(f"{name:<{width}}  {one}")
    _write(found)


def _write(found: dict[str, Any]) -> None:
    if _JSON.value:
        write_text(Path(_JSON.value), json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
