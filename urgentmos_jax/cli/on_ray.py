"""`urgentmos score --ray`: the rows of a cluster, in a folder of parts."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from urgentmos_jax.cli.models import DEFAULT_MODEL, chosen_metrics, load, metadata
from urgentmos_jax.cli.output import conclude, tell, writing
from urgentmos_jax.cli.selecting import Selection
from urgentmos_jax.cli.usage import OutputError, UsageError
from urgentmos_jax.distributed.cluster import PartError, connected, import_ray, run_parts
from urgentmos_jax.distributed.parts import SUFFIXES, PartFolder, PartFormat
from urgentmos_jax.distributed.worker import Job
from urgentmos_jax.files import progress
from urgentmos_jax.manifests.inputs import Listed, with_paths
from urgentmos_jax.scoring.summary import Summary, timing
from urgentmos_jax.scoring.times import Times


def add_ray_arguments(parser: argparse.ArgumentParser) -> None:
    """--ray and --ray-address."""
    parser.add_argument(
        "--ray", action="store_true", help="score on a Ray cluster, by default of this machine alone; --output is then "
        "a folder of parts, as rows.jsonl or rows.parquet",
    )  # fmt: skip
    parser.add_argument("--ray-address", metavar="A", help="with --ray: its cluster, as auto or HOST:6379")


def check_ray(arguments: argparse.Namespace) -> None:
    """Refuses what does not go with --ray.

    Raises:
        UsageError: Something does not.
    """
    if not arguments.ray:
        if arguments.ray_address is not None:
            raise UsageError("--ray-address: give --ray too")
        return
    path = arguments.output
    if path is None or path.suffix not in SUFFIXES:
        raise UsageError("--ray: give an --output that ends in .jsonl or .parquet, which becomes a folder of parts")
    if arguments.frames and path.suffix == ".parquet":
        raise UsageError("--frames: tables have no place for frames, give an --output that ends in .jsonl")
    if arguments.report is not None:
        raise UsageError("--report: not with --ray; score the recordings to be shown without it")
    import_ray()


def score_on_ray(arguments: argparse.Namespace, selection: Selection, inputs: Sequence[tuple[str, Listed]]) -> int:
    """Scores; 1 where a recording failed, 3 where scores are under a gate."""
    import jax

    # This process looks at the model and computes nothing; accelerators are for the workers.
    jax.config.update("jax_platforms", "cpu")
    flag, given = f"--output {arguments.output}", arguments.model or DEFAULT_MODEL
    with writing(flag):
        folder = PartFolder(arguments.output, resume=arguments.resume)
    if folder.part.exists() and not arguments.resume:
        tell(f"{folder.part}: parts of a run that was stopped, soon replaced; --resume continues from them")
    with folder:
        model = load(arguments)
        metrics = chosen_metrics(arguments, model.metrics) or list(model.metrics)
        selection.check(metrics)
        about = {**metadata(model), "command": "score", "metrics": metrics, "frames": arguments.frames}
        form = PartFormat(arguments.output.suffix, metrics, selection.keep)
        with writing(flag):
            missing = folder.begin({**about, **selection.about}, with_paths(inputs), form)
        job = Job(
            folder.part.absolute(),
            form,
            model=os.path.abspath(given) if Path(given).is_dir() else given,
            name=model.name,
            revision=arguments.revision,
            precision=arguments.precision,
            batch_seconds=arguments.batch_seconds,
            frames=arguments.frames,
        )
        del model
        start, times, writing_s = time.perf_counter(), Times(), 0.0
        size = folder.part_rows
        parts = {number: inputs[number * size : (number + 1) * size] for number in missing}
        if folder.left_alone:
            tell(f"{flag}: finished before, left alone")
        elif len(missing) < folder.count:
            tell(f"{flag}: resuming after {folder.count - len(missing)} of {folder.count} parts")
        kept = f"parts that are done are in {folder.part}, --resume continues from them"
        try:
            if missing:
                with connected(arguments.ray_address):
                    start = time.perf_counter()
                    done = len(inputs) - sum(map(len, parts.values()))
                    with progress(None, len(inputs), "row", start=done) as bar:
                        for told in run_parts(job, parts):
                            bar.update(told.pop("rows"))
                            writing_s += told.pop("writing")
                            told.pop("number")
                            times.add(**told)
        except KeyboardInterrupt as stop:
            stop.add_note(kept)
            raise
        except PartError as error:
            raise OutputError(f"{flag}: {error}; {kept}") from None
        except ConnectionError as error:
            place = f"--ray-address {arguments.ray_address}" if arguments.ray_address else "--ray"
            raise UsageError(f"{place}: {error}") from None
        spent = None if folder.left_alone else timing(times, time.perf_counter() - start, writing_s)
        summary, dropped = Summary(metrics, selection.gates), 0
        for row, is_kept in folder.rows():
            summary.add(row)
            dropped += not is_kept
            if row["error"]:
                tell(f"{row['uid']}: {row['error']['message']}")
        selected = {"kept": len(inputs) - dropped, "dropped": dropped} if selection.keep else {}
        with writing(flag):
            folder.finish({**summary.counts, **selected})
    split = f"{len(inputs) - dropped} kept, {dropped} in {folder.path}/dropped-*.jsonl" if selection.keep else None
    return conclude(summary, split, spent)
