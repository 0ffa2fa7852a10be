"""Trains a model: `python -m launch.train --config configs/f1c1m5_d_corpus.py --workdir DIR`.

A key of the config is changed by `--config.batch.seconds=200`. The same command goes on with a run that was stopped.
`--export DIR` writes the model folder at the end; on a finished run it only writes. `--dry_run` prints what the run
would take, before anything is downloaded or compiled.
"""

from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags
from tqdm.contrib.logging import logging_redirect_tqdm

from urgentmos_jax.training.checkpoints import CheckpointError
from urgentmos_jax.training.dry_run import describe_run
from urgentmos_jax.training.logs import show_log
from urgentmos_jax.training.loop import NonFiniteLoss, TooManyBadItems, Trainer

_CONFIG = config_flags.DEFINE_config_file("config", None, "The run, a file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Checkpoints and logs of the run; gone on with if it holds one.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters, operations and memory, and end.")
_EXPORT = flags.DEFINE_string("export", None, "Model folder to write at the end.")


def main(argv: list[str]) -> None:
    """Trains, exports."""
    if len(argv) > 1:
        raise app.UsageError(f"not understood: {' '.join(argv[1:])}")
    logger = show_log()
    name = config_flags.get_config_filename(flags.FLAGS["config"])
    if not (_DRY_RUN.value or _WORKDIR.value):
        raise app.UsageError("--workdir is missing: the folder of the run")
    try:
        if _DRY_RUN.value:
            print(describe_run(_CONFIG.value, jax.local_device_count(), name=name))
            return
        trainer = Trainer(_CONFIG.value, Path(_WORKDIR.value), name=name)
    except (ValueError, FileNotFoundError, CheckpointError) as error:
        raise SystemExit(f"launch.train: {error}") from error
    try:
        with logging_redirect_tqdm([logger]):
            trainer.run()
    except (NonFiniteLoss, TooManyBadItems, CheckpointError) as error:
        raise SystemExit(f"launch.train: stopped: {error}") from error
    if _EXPORT.value:
        trainer.export(Path(_EXPORT.value))
        logger.info("model folder: %s", _EXPORT.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    app.run(main)
