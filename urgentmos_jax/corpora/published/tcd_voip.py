"""TCD-VoIP: speech degraded by echo, chopping, clipping, competing speakers or noise; 24 listeners each (P.800).

Conditions are numbered from 1 for each kind of degradation, so `system_id` has both. The number in the name of a
recording is a different one.
"""

from pathlib import Path

from urgentmos_jax.corpora.corpus import MIRROR, Corpus, Tree
from urgentmos_jax.corpora.downloads import HubFile
from urgentmos_jax.corpora.split import Split, make_uid
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import read_sheet

_SHEET = "Subjective Test Scores"
_LISTENERS = [str(listener) for listener in range(1, 25)]


def read(tree: Tree, split: Split) -> None:
    """Reads the one split."""
    recordings = _recordings(tree)
    for position, row in read_sheet(_table(tree), _SHEET, ["Filename", "ConditionID"]):
        split.read += 1
        name, condition = row["Filename"], row["ConditionID"]
        _, _, *rest = Path(name).stem.split("_")
        if not rest or not condition:
            split.fault(position, f"{name!r}, {condition!r}: give a Filename C_NN_KIND_SPEAKER.wav and a ConditionID")
            continue
        heard = [listener for listener in _LISTENERS if listener in row]
        if not heard:
            raise ManifestError([f"{position.path}: no listener columns, 1 to 24; the columns are {list(row)}"])
        values = {listener: split.value(position, "mos_overall", row[listener]) for listener in heard}
        ratings = {"mos_overall": [(listener, value) for listener, value in values.items() if value is not None]}
        reference, condition = "_".join(rest), condition.zfill(3)
        uid, path = make_uid(condition, reference), recordings.get(name) or tree.audio(f"wav/{name}")
        system = f"{rest[0]}-{condition}"
        split.add(position, name, path, uid=uid, system=system, reference=reference, ratings=ratings)


def _table(tree: Tree) -> Path:
    found = tree.find_or_none("mos.xlsx")
    if found:
        return found
    tables = sorted(path for path in tree.root.rglob("*.xlsx") if not path.name.startswith("~"))
    if len(tables) != 1:
        text = f"expected one .xlsx of ratings, found {', '.join(map(str, tables)) or 'none'}"
        raise ManifestError([f"{tree.root}: not the folder of this corpus: {text}"])
    return tables[0]


def _recordings(tree: Tree) -> dict[str, str]:
    """{name: path} of all recordings below the folder; the archive sorts them into subfolders."""
    found: dict[str, Path] = {}
    for path in sorted(tree.root.rglob("*.wav")):
        other = found.setdefault(path.name, path)
        if other != path:
            raise ManifestError([f"{other} and {path}: two recordings with one name; remove the wrong one"])
    return {name: str(path) for name, path in found.items()}


CORPUS = Corpus(
    name="tcd-voip",
    holds="P.800 quality of five VoIP degradations, ratings",
    protocol="quality",
    licence="CC BY-NC-SA 4.0",
    size="48 kHz, 0.87 h",
    home=f"https://huggingface.co/datasets/{MIRROR}",
    splits={"train": 384},
    read=read,
    downloads=(HubFile(MIRROR, "TCD-VOIP.zip"),),
    top_folders=("TCD-VOIP",),
)
