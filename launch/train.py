"""Trains a model: `python -m launch.train --config configs/f1c1m5_d_corpus.py --workdir DIR`.

A key of the config is changed by `--config.batch.seconds=200`. The same command resumes a run that was stopped.
`--export DIR` writes the model folder at the end; on a finished run it only writes. `--dry_run` prints what the run
would take, before anything is downloaded or compiled; with `--topology=v5e:4x4` it compiles the step for such a slice
of TPUs, on any machine. `--distributed` joins the hosts of a run, see launch/tpu.

Exit status: 0 at the end; 1 with a message where something is wrong; 143 and 130 where SIGTERM or Ctrl-C ended the run
behind a checkpoint.
"""

import logging
import sys
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags
from tqdm.contrib.logging import logging_redirect_tqdm

from urgentmos_jax.accelerators.chips import Slice, without_devices
from urgentmos_jax.scoring.loading import keep_freed_memory
from urgentmos_jax.scoring.stored import keep_compiled_programs
from urgentmos_jax.training import topology
from urgentmos_jax.training.dry_run import describe_run
from urgentmos_jax.training.interruption import Interrupted
from urgentmos_jax.training.logs import show_log
from urgentmos_jax.training.slices import DoesNotFit, describe_on_slice
from urgentmos_jax.training.trainer import STOPPED, Trainer
from urgentmos_jax.weights.model_folder import check_target

# Holds configs/, in a clone and in an installed package.
_HOME = Path(__file__).parents[1]

_CONFIG = config_flags.DEFINE_config_file("config", None, "The run, a file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Checkpoints and logs of the run; resumed if it holds one.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print parameters, operations and memory, and end.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "With --dry_run: compile for a slice of TPUs, as v5e:4x4.")
_EXPORT = flags.DEFINE_string("export", None, "Model folder to write at the end.")
_STRICT = flags.DEFINE_bool("strict", False, "Stop at a damaged checkpoint or clip, instead of continuing without it.")
_ALLOW_CHANGED_DATA = flags.DEFINE_bool(
    "allow_changed_data", False, "Resume a run though its manifests have changed since it began."
)
_YES = flags.DEFINE_bool("yes", False, "Write what has to be written for data.feature_cache, without being asked.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Train on several hosts, by the same command on each.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "ADDRESS:PORT on host 0; none: from the platform.")
_HOSTS = flags.DEFINE_integer("hosts", None, "Number of hosts; none: from the platform.")
_HOST = flags.DEFINE_integer("host", None, "Number of this host, from 0; none: from the platform.")


def main(argv: list[str]) -> None:
    """Trains, exports."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    name = config_flags.get_config_filename(flags.FLAGS["config"])
    if not (_DRY_RUN.value or _WORKDIR.value):
        raise app.UsageError("--workdir is missing: the folder of the run")
    if _TOPOLOGY.value and not _DRY_RUN.value:
        raise app.UsageError("--topology goes with --dry_run: nothing is trained on TPUs that are not there")
    logger = show_log()
    try:
        if _TOPOLOGY.value:
            without_devices()
            print(describe_on_slice(_CONFIG.value, Slice.parse(_TOPOLOGY.value), name=name))
            return
        if _DRY_RUN.value:
            print(describe_run(_CONFIG.value, jax.local_device_count(), name=name))
            return
        if _DISTRIBUTED.value:
            topology.connect(_COORDINATOR.value, _HOSTS.value, _HOST.value)
        if not topology.is_first():
            logger.setLevel(logging.WARNING)
        elif _EXPORT.value:
            check_target(_EXPORT.value)
        keep_compiled_programs()
        keep_freed_memory()
        trainer = Trainer(
            _CONFIG.value,
            _WORKDIR.value,
            name=name,
            strict=_STRICT.value,
            allow_changed_data=_ALLOW_CHANGED_DATA.value,
            confirm=confirm,
        )
    except DoesNotFit as error:
        print(error.plans)
        raise SystemExit(f"launch.train: {error}") from error
    except (ValueError, OSError, ModuleNotFoundError, *STOPPED) as error:
        raise SystemExit(f"launch.train: {error}") from error
    try:
        with logging_redirect_tqdm([logger]):
            trainer.run()
        if _EXPORT.value:
            trainer.export(Path(_EXPORT.value))
            logger.info("model folder: %s", _EXPORT.value)
    except Interrupted as end:
        logger.warning("%s", end)
        raise SystemExit(128 + end.signal) from None
    except (OSError, *STOPPED) as error:
        raise SystemExit(f"launch.train: stopped: {error}") from error


def confirm(question: str) -> bool:
    """Asks on the terminal, where there is one and --yes has not answered."""
    if _YES.value or not sys.stdin.isatty():
        return _YES.value
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def with_own_configs(arguments: list[str]) -> list[str]:
    """The command line, where `--config configs/X.py` is ours if the working folder has no such file."""

    def own(argument: str) -> str:
        flag, equals, path = argument.partition("=") if argument.startswith("--config=") else ("", "", argument)
        ours = path.startswith("configs/") and not Path(path.partition(":")[0]).exists()
        return f"{flag}{equals}{_HOME / path}" if ours else argument

    return [own(argument) for argument in arguments]


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    app.run(main, argv=with_own_configs(sys.argv))
