"""urgentmos-small: from clean speech to a model folder.

    python -m launch.release --workdir DIR --speech CLEAN --asterisk SOUNDS --distill_mos MODEL --whisper TINY \\
        --ratings SETS

Stages, each resumed where it stopped: `speech` (voices are recorded or spoken), `labels` (clips are degraded and
labelled, shard by shard), `train`, `listen` (a head of `mos_overall` from rated sets), `evaluate`, `package`.
`launch/release/README.md` says what to install and how long each takes.
"""

from pathlib import Path

from absl import app, flags

STAGES = ("speech", "labels", "train", "listen", "evaluate", "package")

_WORKDIR = flags.DEFINE_string("workdir", None, "Where speech, clips, the run and the model go.")
_SPEECH = flags.DEFINE_string("speech", None, "Folder of the clean sets picovoice-intent and kerstin-de.")
_ASTERISK = flags.DEFINE_string("asterisk", None, "Folder that asterisk-core-sounds-*-g722 are unpacked in.")
_DISTILL = flags.DEFINE_string("distill_mos", None, "Model folder of Distill-MOS, made by `urgentmos convert`.")
_WHISPER = flags.DEFINE_string("whisper", None, "Hugging Face folder or hub id of Whisper tiny (English).")
_RATINGS = flags.DEFINE_string("ratings", None, "Folder of the rated sets p835-wb and codec-mushra.")
_STAGES = flags.DEFINE_list("stages", list(STAGES), "What to do of it.")
_SHARDS = flags.DEFINE_integer("shards", 37, "Shards of 300 training clips, 25 minutes each.", lower_bound=1)
_EXCERPTS = flags.DEFINE_integer("excerpts", 100, "Excerpts a shard; fewer to try the release out.", lower_bound=1)
_VOICES = flags.DEFINE_string("voices", "", "Only voices whose names begin so, such as espeak.")
_UPDATES = flags.DEFINE_integer("updates", 0, "Updates of training; 0: as the config says.", lower_bound=0)
_PROCESSES = flags.DEFINE_integer("processes", None, "Processes; one a core by default.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Does the stages of --stages."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if unknown := [stage for stage in _STAGES.value if stage not in STAGES]:
        raise app.UsageError(f"--stages: {unknown[0]!r} must be one of {', '.join(STAGES)}")
    # Imported here: processes that make clips import this module, and need none of it.
    from launch.release.stages import Release
    from launch.release.voices import MissingSpeech
    from urgentmos_jax.scoring.loading import keep_freed_memory
    from urgentmos_jax.scoring.stored import keep_compiled_programs
    from urgentmos_jax.training.logs import show_log

    show_log()
    keep_freed_memory()
    keep_compiled_programs()
    release = Release(
        Path(_WORKDIR.value),
        shards=_SHARDS.value,
        excerpts=_EXCERPTS.value,
        updates=_UPDATES.value,
        voices=_VOICES.value,
        processes=_PROCESSES.value,
    )
    try:
        for stage in _STAGES.value:
            if stage == "speech":
                release.speak(_folder(_SPEECH), _folder(_ASTERISK))
            elif stage == "labels":
                release.label(_folder(_DISTILL))
            elif stage == "train":
                release.train(_folder(_WHISPER))
            elif stage == "listen":
                release.listen(_folder(_RATINGS), _folder(_DISTILL))
            elif stage == "evaluate":
                release.evaluate(_folder(_DISTILL))
            else:
                release.package()
    except (MissingSpeech, FileNotFoundError, ModuleNotFoundError) as error:
        raise SystemExit(f"launch.release: {error}") from error


def _folder(flag: flags.FlagHolder) -> Path:
    if flag.value is None:
        raise app.UsageError(f"--{flag.name} is needed for this stage")
    return Path(flag.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(main)
