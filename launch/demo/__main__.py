"""Demo: from nothing to a trained model of speech quality in a few minutes, without network.

    python -m launch.demo [--workdir DIR]

First urgentmos-small, the model in the package, scores three short recordings. Then speech is generated (eSpeak NG),
degraded in ten known ways and labelled with objective metrics; a small model is trained by the real loop, evaluated on
voices and sentences it never met, compares a clean clip with a noisy one, and is left as a folder for `urgentmos score`
beside the plots. What it trains predicts objective metrics without the clean speech, not listeners' opinion.
"""

import logging
import sys
import tempfile
from pathlib import Path

from absl import app, flags

from launch.demo.progress import Progress

_WORKDIR = flags.DEFINE_string("workdir", None, "Where speech, model and plots go; none: a temporary folder.")


def main(argv: list[str]) -> None:
    """Runs the demo in --workdir."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    with Progress(logging.getLogger("urgentmos_jax")) as progress:
        progress.begin("starting: JAX and the package are imported")
        try:
            from launch.demo.packaged import score_three_clips
            from urgentmos_jax.scoring.loading import keep_freed_memory

            keep_freed_memory()
            progress.begin("three recordings are scored by the model in the package")
            score_three_clips()
            from launch.demo.steps import Demo

            if _WORKDIR.value:
                Demo(Path(_WORKDIR.value), progress).run()
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    Demo(Path(scratch), progress).run()
                print("The files are gone; give --workdir DIR to keep speech, model and plots.", file=sys.stderr)
        except ImportError as error:
            raise SystemExit(f'launch.demo: {error}; pip install "urgentmos_jax[demo]"') from error


if __name__ == "__main__":
    app.run(main)
