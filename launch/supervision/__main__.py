"""The paper's claim on real listeners: do more metrics with most labels missing, and preferences, help a small model?

    python -m launch.supervision --data DIR --workdir DIR [--encoder FOLDER --distill_mos MODEL]

The folder of --data holds the rated sets `p835-wb` and `codec-mushra`. Three conditions are trained from nothing: (a)
listeners' scores alone, (b) with objective metrics of speech degraded here, most labels withheld, (c) as b, with
preferences. Five folds by talker, three seeds: 45 trainings, an hour on two cores. What is finished is kept;
the same command continues. Two tables are left in --workdir; `notebooks/multi_metric_supervision.ipynb` reads them.

With --encoder the heads of the three are trained on a frozen encoder of Whisper's, whose states are kept in --workdir,
and b and c also learn Distill-MOS and DNSMOS of all clips, most withheld (`pip install -e ".[labels,predictors]"`).
"""

from pathlib import Path

from absl import app, flags

_DATA = flags.DEFINE_string("data", None, "Folder of the rated sets p835-wb and codec-mushra.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where speech, runs and tables go.")
_ENCODER = flags.DEFINE_string(
    "encoder", "", "Whisper encoder to train heads on: a Hugging Face folder or hub id. By default the compact encoder."
)
_DISTILL_MOS = flags.DEFINE_string(
    "distill_mos", None, "Its model folder, as `urgentmos convert` makes it; with --encoder."
)
_FOLDS = flags.DEFINE_list("folds", ["0", "1", "2", "3", "4"], "Folds to be tested.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of training.")
_CONDITIONS = flags.DEFINE_list("conditions", ["a", "b", "c"], "Conditions to be trained.")
_UPDATES = flags.DEFINE_integer("updates", 300, "Updates of each training.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Trains what is not there yet, and writes the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if bool(_ENCODER.value) != bool(_DISTILL_MOS.value):
        raise app.UsageError("--encoder and --distill_mos go together: give both, or neither")
    # Imported here: the processes that generate speech import this module, and need none of it.
    from launch.supervision.study import Supervision
    from urgentmos_jax.labels.packages import WeightsMissing
    from urgentmos_jax.scoring.loading import keep_freed_memory
    from urgentmos_jax.scoring.stored import keep_compiled_programs
    from urgentmos_jax.training.interruption import Interrupted
    from urgentmos_jax.training.logs import show_log
    from urgentmos_jax.training.trainer import STOPPED

    folds, seeds = (_numbers(flag) for flag in (_FOLDS, _SEEDS))
    logger = show_log()
    keep_compiled_programs()
    keep_freed_memory()
    try:
        study = Supervision(
            Path(_DATA.value),
            Path(_WORKDIR.value),
            updates=_UPDATES.value,
            encoder=_ENCODER.value,
            distill_mos=_DISTILL_MOS.value and Path(_DISTILL_MOS.value),
        )
        tables = study.run(folds, seeds, _CONDITIONS.value)
    except Interrupted as end:
        logger.warning("%s", end)
        raise SystemExit(128 + end.signal) from None
    except (ValueError, OSError, ImportError, WeightsMissing, *STOPPED) as error:
        raise SystemExit(f"launch.supervision: {error}") from error
    print(*tables, sep="\n")


def _numbers(flag: flags.FlagHolder) -> list[int]:
    if wrong := [text for text in flag.value if not text.isdecimal()]:
        raise app.UsageError(f"--{flag.name}: {wrong[0]!r} is not a whole number; give them as 0,1")
    return [int(text) for text in flag.value]


if __name__ == "__main__":
    flags.mark_flags_as_required(["data", "workdir"])
    app.run(main)
