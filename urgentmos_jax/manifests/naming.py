"""What a manifest is: a list of utterances or of pairs, by its content; and its names, by its folders."""

from pathlib import Path

from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.records import ManifestError

# As `urgentmos prepare` calls manifests: `<corpus>/<split>/data.jsonl`.
UTTERANCES, PAIRS = "data.jsonl", "data_pairs.jsonl"


def lists_pairs(path: Path) -> bool:
    """Whether a manifest lists pairs, by the first line that names recordings; its own name does not matter.

    A file that cannot be read, or names no recordings, does not; reading it as utterances tells why.
    """
    try:
        for _, entry in json_lines(path):
            if isinstance(entry, dict) and not entry.keys().isdisjoint(("audio_path", "audio_paths")):
                return "audio_paths" in entry
    except ManifestError:
        pass
    return False


def split_of(path: Path) -> Path:
    """What a manifest is of: its folder if it is called as `urgentmos prepare` calls manifests, else itself."""
    return path.parent if path.name in (UTTERANCES, PAIRS) else path


def corpus_folder(path: Path) -> Path:
    """The folder whose manifests share their ids: `<corpus>` of `<corpus>/<split>/data.jsonl`, else the manifest's."""
    return split_of(path).parent


def corpus_name(path: Path) -> str:
    """`corpus/split`, the last two folders of a manifest that `urgentmos prepare` wrote; else its path."""
    split = split_of(path)
    return str(path) if split == path else "/".join(split.resolve().parts[-2:])
