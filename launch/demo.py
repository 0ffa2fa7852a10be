"""Demo: scores and compares generated clips from end to end, without network.

    python -m launch.demo [--workdir DIR]

The model is the compact encoder with RANDOM weights: the numbers show that everything runs, not how good a clip is.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from absl import app, flags
from flax import nnx

from launch.clips import generated
from urgentmos_jax import cli
from urgentmos_jax.audio import SAMPLE_RATE_HZ
from urgentmos_jax.encoders.compact import CompactConfig
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.released import save_folder
from urgentmos_jax.model.transformer import TransformerConfig
from urgentmos_jax.model.urgentmos import EncoderConfig, ModelConfig, UrgentMOS

_WORKDIR = flags.DEFINE_string("workdir", None, "Where clips, model and results go; none: a temporary folder.")


def main(argv: list[str]) -> None:
    """Makes clips and a model, scores, compares."""
    del argv
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(_WORKDIR.value or scratch))


def run(workdir: Path) -> None:
    """Clean clips and noisy ones -> scores and comparisons."""
    rng = np.random.default_rng(1)
    for number, clean in enumerate(generated(6)):
        noisy = clean + 0.1 * rng.standard_normal(len(clean)).astype(np.float32)
        for kind, waveform in (("clean", clean), ("noisy", noisy)):
            path = workdir / "clips" / kind / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.9 * waveform / np.abs(waveform).max(), SAMPLE_RATE_HZ)
    config = ModelConfig(
        encoders=(EncoderConfig(CompactConfig(), freeze=False),),
        categories={"quality": {"mos_overall": Metric(1, 5, comparative=True), "pesq": Metric(1, 4.5)}},
        width=96,
        category=TransformerConfig(layers=1, heads=4, feedforward=192),
    )
    save_folder(workdir / "model", UrgentMOS(config, rngs=nnx.Rngs(0)), {"kind": "random weights"})
    clips, model = workdir / "clips", ("--model", str(workdir / "model"))
    command(["score", str(clips), *model, "--output", str(workdir / "scores.jsonl")])
    sides = [str(clips / "clean"), str(clips / "noisy")]
    command(["compare", *sides, *model, "--output", str(workdir / "comparisons.jsonl")])
    for line in (workdir / "scores.jsonl").read_text().splitlines():
        row = json.loads(line)
        print(f"{row['uid']:<10} {row['duration_s']:6.2f} s  {row['scores']}")
    for line in (workdir / "comparisons.jsonl").read_text().splitlines():
        row = json.loads(line)
        print(f"clean/{row['uid']} against noisy/{row['uid']}: {row['comparison']['mos_overall']}")
    print("The weights of this model are random: it shows that everything runs, its numbers judge nothing.")


def command(arguments: list[str]) -> None:
    """Runs the command `urgentmos`; stops where it fails."""
    print("urgentmos " + " ".join(arguments), file=sys.stderr)
    if status := cli.main(arguments):
        raise SystemExit(status)


if __name__ == "__main__":
    app.run(main)
