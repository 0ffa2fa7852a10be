"""Coverage-guided fuzzing of one reader: `python -m tests.fuzz.with_atheris TARGET FOLDER [options of libFuzzer]`.

FOLDER keeps the inputs that reach new code; the seeds are put there first. An input that breaks what must hold is
written to FOLDER.findings, the first for each line of code, and the run goes on; a crash of a library ends it, and its
input is there too. See README.md.
"""

import hashlib
import os
import sys
import tempfile
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["urgentmos_jax", "tests.fuzz.strict"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.wrapping import unwrapped, wrapped


def main() -> None:
    """Runs until libFuzzer's options stop it."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    findings = folder.with_name(folder.name + ".findings")
    folder.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    target = TARGETS[name]
    for seed, data in target.seeds().items():
        for number, content in enumerate(unwrapped(name, data)):
            (folder / f"{seed}.{number}").write_bytes(content)
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = Path(tempfile.mkdtemp(dir=shared)) / f"input{target.suffix}"

    seen: set[tuple[str, int | None]] = set()

    def read(data: bytes) -> None:
        content = wrapped(name, data)
        path.write_bytes(content)
        try:
            target.read(path)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            if (last.filename, last.lineno) not in seen:
                seen.add((last.filename, last.lineno))
                kept = findings / f"{hashlib.sha256(content).hexdigest()[:12]}{target.suffix}"
                kept.write_bytes(content)
                print(f"FINDING {kept}", traceback.format_exc(), sep="\n", file=sys.stderr)

    options = ["-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={findings}/", *sys.argv[3:]]
    atheris.Setup([sys.argv[0], *options, str(folder)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
