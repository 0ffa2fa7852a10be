"""`urgentmos check`: the health of manifests."""

import argparse
import sys
from pathlib import Path

from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.files import summarise_errors, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the subcommand."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA.jsonl", help="manifests of utterances or pairs")
    parser.add_argument("--audio-root", type=Path, metavar="DIR", help="where else relative paths are looked up")
    parser.add_argument("--allow-outside", action="store_true", help="let relative paths lead out of both folders")
    parser.add_argument("--decode", action="store_true", help="decode every recording, instead of reading its header")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything, each fault included")
    parser.add_argument("--plot", type=Path, metavar="F.png", help="draw what labels there are, and their histograms")


def run(arguments: argparse.Namespace) -> int:
    """Examines; 1 where something is wrong."""
    from urgentmos_jax.manifests.checking import as_text, coverage, examine, metrics_of

    if missing := [str(path) for path in arguments.data if not path.is_file()]:
        raise UsageError(f"{', '.join(missing)}: no such file")
    healths, notes = examine(
        list(dict.fromkeys(arguments.data)),
        audio_root=arguments.audio_root,
        allow_outside=arguments.allow_outside,
        decode=arguments.decode,
    )
    print(as_text(healths, notes))
    try:
        if arguments.json:
            metrics = metrics_of(healths)
            found = {"manifests": [one.as_json(metrics) for one in healths], "notes": notes}
            write_json(arguments.json, found)
        if arguments.plot:
            from urgentmos_jax.evaluation.plots import label_coverage

            label_coverage(arguments.plot, coverage(healths))
    except OSError as error:
        raise UsageError(f"--json or --plot: cannot be written ({error})") from None
    except (ImportError, ValueError) as error:
        raise UsageError(f"--plot: {error}") from None
    faulty = [one for one in healths if one.faults]
    for one in faulty:
        print(summarise_errors(one.faults, f"faults of {one.name}"), file=sys.stderr)
    return 1 if faulty else 0
