"""The numbers of tests/README.md: `python -m tests.fuzz [files of audio] [manifests and tables each]`."""

import datetime
import platform
import sys

import soundfile

from tests.fuzz.isolated import run


def main() -> None:
    """Prints what became of damaged files; exit status 1 if there are findings."""
    audio, text = (int(number) for number in (*sys.argv[1:], *("2000", "500")[len(sys.argv) - 1 :]))
    versions = (
        f"Python {platform.python_version()}, soundfile {soundfile.__version__}, {soundfile.__libsndfile_version__}"
    )
    print(f"{datetime.date.today()}, {platform.system()} {platform.machine()}, {versions}")
    results = {name: run(name, count) for name, count in (("audio", audio), ("manifests", text), ("tables", text))}
    for name, result in results.items():
        print(result.report(name))
    sys.exit(any(result.findings for result in results.values()))


if __name__ == "__main__":
    main()
