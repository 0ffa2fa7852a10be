"""Labels of the release's clips: objective metrics and predictors, kept as a table a shard in `labels/`.

The tables are part of the repository: clips are made again from the seed in an hour, labels take many. A row counts
where its digest is that of the clip's samples; other clips (another version of a codec, say) are labelled anew.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from urgentmos_jax.files import write_text
from urgentmos_jax.labels.labelling import label_manifest
from urgentmos_jax.labels.references import Rule
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.synthesis.catalogue import ALL_DEGRADATIONS

__all__ = ["METRICS", "TABLES", "label_shard"]

TABLES = Path(__file__).with_name("labels")
INTRUSIVE = ("pesq", "estoi", "si_sdr")
DNSMOS = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")
METRICS = ("distill_mos", *DNSMOS, *INTRUSIVE)
# These keep what is heard, not the waveform that SI-SDR compares.
_NOT_BY_WAVEFORM = {"codec", "vocoder"}
# DNSMOS repeats a clip until it is over 9.01 s, and hears each second of that: these are heard once.
_DNSMOS_S = ((4.505, 5.499), (9.01, 10.99))


def label_shard(manifest: Path, table: Path, distill_mos: Model, processes: int) -> Path:
    """Labels the clips of a shard, but for those whose labels are known.

    Args:
        manifest: Of `clips.make_shard`.
        table: The shard's table, which is made or completed: `uid`, `digest`, and a column a metric, empty where the
            metric has no meaning or no value.
        distill_mos: Distill-MOS, as `urgentmos convert` makes it.
        processes: How many compute.

    Returns:
        A manifest of the clips with all labels, beside `manifest`.
    """
    clips, _ = read_utterances(manifest)
    known = _read(table)
    labels = {clip.uid: known.get((clip.uid, clip.meta["digest"])) for clip in clips}
    fresh = [clip for clip in clips if labels[clip.uid] is None]
    if fresh:
        found = _computed(manifest, fresh, distill_mos, processes)
        labels |= found
        rows = [{"uid": clip.uid, "digest": clip.meta["digest"], **_texts(labels[clip.uid] or {})} for clip in clips]
        _write(table, rows)
    labelled = [dataclasses.replace(clip, metrics=_with_meaning(clip, labels[clip.uid] or {})) for clip in clips]
    output = manifest.with_name("labelled.jsonl")
    write_utterances(output, [dataclasses.replace(clip, audio_path=Path(clip.audio_path).name) for clip in labelled])
    return output


def _computed(
    manifest: Path, clips: Sequence[Utterance], distill_mos: Model, processes: int
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {clip.uid: {} for clip in clips}
    for name, metrics, rule in (("intrusive", INTRUSIVE, Rule(column="reference")), ("dnsmos", DNSMOS, None)):
        wanted = [clip for clip in clips if _has_meaning(clip, metrics[0])]
        listed, output = (manifest.with_name(f"{name}{ending}") for ending in (".jsonl", ".labelled.jsonl"))
        write_utterances(listed, [dataclasses.replace(clip, audio_path=Path(clip.audio_path).name) for clip in wanted])
        label_manifest(listed, output, metrics=metrics, reference=rule, processes=processes)
        for clip in read_utterances(output)[0]:
            found[clip.uid] |= clip.metrics
    rows = distill_mos.score([clip.audio_path for clip in clips])
    for clip, row in zip(clips, rows, strict=True):
        if row["scores"]:
            found[clip.uid]["distill_mos"] = row["scores"]["distill_mos"]
    return found


def _with_meaning(clip: Utterance, values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if _has_meaning(clip, name)}


def _has_meaning(clip: Utterance, metric: str) -> bool:
    if metric in DNSMOS:
        return any(least <= clip.duration <= most for least, most in _DNSMOS_S)
    if metric in INTRUSIVE and clip.meta["family"] == "clean":
        return False
    kinds = {ALL_DEGRADATIONS[name].kind for name, _ in clip.meta["steps"]}
    return not (metric == "si_sdr" and kinds & _NOT_BY_WAVEFORM)


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {name: f"{values[name]:.4f}" if name in values else "" for name in METRICS}


def _read(table: Path) -> dict[tuple[str, str], dict[str, float]]:
    if not table.exists():
        return {}
    with table.open(newline="") as file:
        return {
            (row["uid"], row["digest"]): {name: float(row[name]) for name in METRICS if row[name]}
            for row in csv.DictReader(file)
        }


def _write(table: Path, rows: Sequence[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ("uid", "digest", *METRICS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table.parent.mkdir(exist_ok=True)
    write_text(table, text.getvalue())
