"""`urgentmos calibrate`: a model and labelled pairs -> the model with calibrated scores and comparisons."""

import argparse
from pathlib import Path

from urgentmos_jax.cli.models import add_model_arguments, load, name_list
from urgentmos_jax.cli.output import check_output, print_result, tell, write_json, writing
from urgentmos_jax.cli.usage import OutputError, UsageError, add_manifest_arguments
from urgentmos_jax.files import summarise_errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="+", type=Path, metavar="PAIRS.jsonl", help="manifests of pairs, at least 50")
    add_model_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="M2", help="model folder to write")
    parser.add_argument(
        "--metrics", metavar="A,B", help="some of the metrics with labels (default: all of the model's)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of folds and bootstrap (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write everything with full precision")
    add_manifest_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Calibrates; 1 where a recording failed."""
    from urgentmos_jax.evaluation.calibrating import as_json, as_text, calibrate
    from urgentmos_jax.evaluation.datasets import read_datasets
    from urgentmos_jax.evaluation.evaluating import EvaluationError, labelled_metrics, predicted_metrics
    from urgentmos_jax.schema import as_json as plain
    from urgentmos_jax.weights.model_folder import check_target, load_folder, save_folder

    if arguments.seed < 0:
        raise UsageError(f"--seed is {arguments.seed}, give one of 0 or more")
    if missing := [str(path) for path in arguments.data if not path.is_file()]:
        raise UsageError(f"{', '.join(missing)}: no such file")
    try:
        check_target(arguments.output)
    except FileExistsError as error:
        raise UsageError(f"--output {error}") from None
    except OSError as error:
        raise OutputError(f"--output {error}") from None
    check_output("--json", arguments.json)
    datasets = read_datasets(
        list(dict.fromkeys(arguments.data)), audio_root=arguments.audio_root, allow_outside=arguments.allow_outside
    )
    if of_clips := [one.name for one in datasets if not one.pairs]:
        raise UsageError(f"{', '.join(of_clips)}: lists recordings; `urgentmos pairs` makes pairs of them")
    try:
        wanted = labelled_metrics(datasets, arguments.metrics and name_list(arguments.metrics))
        model = load(arguments)
        kept, left_out = predicted_metrics(wanted, {"model": model.metrics})
        if left_out and arguments.metrics:
            raise UsageError(f"--metrics {', '.join(left_out)}: the model predicts {', '.join(model.metrics)}")
        found = calibrate(model, datasets, kept, seed=arguments.seed)
    except EvaluationError as error:
        raise UsageError(str(error)) from None
    if left_out:
        tell(f"left out, not predicted: {', '.join(left_out)}")
    assert model.folder is not None  # It was loaded.
    module, content = load_folder(model.folder)
    with writing(f"--output {arguments.output}"):
        calibrations = {**model.calibrations, **found.calibrations}
        distribution = None if model.distribution is None else vars(model.distribution)
        save_folder(arguments.output, module, content["origin"], plain(calibrations), distribution)
    if arguments.json:
        write_json("--json", arguments.json, as_json(found))
    parts = [as_text(found, metric) for metric in found.calibrations]
    print_result("\n".join([*parts, f"{arguments.output}: calibrated {', '.join(found.calibrations)}"]))
    if found.failed:
        faults = [f"{uid}: {message}" for uid, message in found.failed.items()]
        tell(summarise_errors(faults, "recordings failed; their pairs are left out"))
    return 1 if found.failed else 0
