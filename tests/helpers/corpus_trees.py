"""Small trees of files in the layouts of published corpora, and what `urgentmos prepare` is to make of them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos_jax.manifests.records import Utterance


def write_recording(path: Path, seconds: float = 0.5, rate_hz: int = 16000) -> Path:
    """A recording whose content is unique to its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).uniform(-0.1, 0.1, round(seconds * rate_hz))
    soundfile.write(path, noise, rate_hz, format=path.suffix[1:].upper())
    return path


def write_table(path: Path, *rows: str, bom: bool = False, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(("\ufeff" if bom else "") + "".join(row + end for row in rows), encoding="utf-8", newline="")


def write_sheet(path: Path, name: str, rows: list[list]) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    page = book.create_sheet(name)
    for row in rows:
        page.append(row)
    book.save(path)


def write_parquet(path: Path, columns: dict[str, list], recordings: tuple[str, ...] = ()) -> None:
    """A file of a hub dataset; columns of recordings hold bytes."""
    datasets = pytest.importorskip("datasets")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_dict(
        {k: [{"bytes": b, "path": None} for b in v] if k in recordings else v for k, v in columns.items()}
    )
    for name in recordings:
        made = made.cast_column(name, datasets.Audio(decode=False))
    made.to_parquet(str(path))


def pseudonym(listener: str) -> str:
    return hashlib.sha256(listener.encode()).hexdigest()[:8]


def build_voicemos(root: Path, track: str) -> None:
    wavs, sets = root / "DATA" / "wav", root / "DATA" / "sets"
    for n, name in enumerate(("sysaaaaa-utt0000001", "sysaaaaa-utt0000002", "sysbbbbb-utt0000003")):
        write_recording(wavs / f"{name}.wav", 0.5 + n / 10)
    suffix = "" if track == "ood" else ".wav"
    write_table(
        sets / "TRAINSET",
        f"sysaaaaa,sysaaaaa-utt0000001{suffix},4,x1,Jp_30-40_F_1_0",
        f"sysaaaaa,sysaaaaa-utt0000001{suffix},5,x2,Jp_20-30_M_1_0",
        "",
        f"sysaaaaa,sysaaaaa-utt0000002{suffix},2,x1,Jp_30-40_F_1_0",
    )
    write_table(sets / "DEVSET", f"sysbbbbb,sysbbbbb-utt0000003{suffix},1,x9,Jp_30-40_F_1_0")
    write_table(sets / "TESTSET", f"sysbbbbb,sysbbbbb-utt0000003{suffix},3,x9,Jp_30-40_F_1_0")
    write_table(
        sets / "transcriptions_clustered.csv",
        "wav_name,transcription,track,cluster,reference",
        f"sysaaaaa-utt0000001,a b,{track},12,a b",
        f"sysaaaaa-utt0000002,c,{track},-1,c",
        "sysbbbbb-utt0000003,a b,elsewhere,12,a b",
    )


def expect_voicemos(root: Path, track: str) -> dict[str, list[Utterance]]:
    def path(name: str) -> str:
        return str(root / "DATA" / "wav" / f"{name}.wav")

    first, second = pseudonym("Jp_30-40_F_1_0"), pseudonym("Jp_20-30_M_1_0")
    b = ("sysbbbbb:utt0000003", path("sysbbbbb-utt0000003"), 0.7, "sysbbbbb", None)
    return {
        "train": [
            Utterance(
                "sysaaaaa:utt0000001",
                path("sysaaaaa-utt0000001"),
                0.5,
                "sysaaaaa",
                f"{track}-12",
                {"mos_overall": 4.5},
                {"mos_overall": [[first, 4.0], [second, 5.0]]},
            ),
            Utterance(
                "sysaaaaa:utt0000002",
                path("sysaaaaa-utt0000002"),
                0.6,
                "sysaaaaa",
                None,
                {"mos_overall": 2.0},
                {"mos_overall": [[first, 2.0]]},
            ),
        ],
        "dev": [Utterance(*b, {"mos_overall": 1.0}, {"mos_overall": [[first, 1.0]]})],
        "test": [Utterance(*b, {"mos_overall": 3.0}, {"mos_overall": [[first, 3.0]]})],
    }


def build_pstn(root: Path) -> None:
    write_recording(root / "pstn_train" / "015_a_b.wav", 0.5, 8000)
    write_recording(root / "pstn_train" / "NA_c.wav", 0.6, 8000)
    rows = ("015_a_b.wav,3.4,0.55,0.2,7", "NA_c.wav,2,,0.2,7")
    write_table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows, bom=True, end="\r\n")


def build_somos(root: Path) -> None:
    for name in ("novel_2007_0098_015.wav", "novel_2007_0098_016.wav"):
        write_recording(root / "audios" / name, 0.5, 24000)
    lists, header = root / "training_files" / "split1" / "clean", "systemId,utteranceId,choice,listenerId"
    name = "novel_2007_0098_015.wav"
    write_table(lists / "TRAINSET", header, f"015,{name},4,ab", f"015,{name},5,NA", f"015,{name},,x")
    write_table(lists / "VALIDSET", header, "016,novel_2007_0098_016.wav,1,ab")
    write_table(lists / "TESTSET", header, "016,novel_2007_0098_016.wav,2,ab")
    write_table(lists.parent / "full" / "TRAINSET", header, f"015,{name},1,spam")


def build_speechjudge(root: Path) -> None:
    made = [write_recording(root.parent / "made" / f"{n}.wav", 0.5 + n / 10, 24000).read_bytes() for n in range(4)]
    for split in ("train", "dev", "test", "other"):
        columns = {
            "index": [10, 11, 12],
            "audioA": [made[0], made[1], made[2]],
            "audioB": [made[1], made[2], made[3]],
            "naturalness_label": ["A", "Tie", "both bad"],
        }
        write_parquet(root / "data" / f"{split}-00000-of-00001.parquet", columns, ("audioA", "audioB"))


def build_urgent(root: Path, year: int) -> None:
    made = [
        write_recording(root.parent / "made" / f"{n}.flac", 0.5 + n / 10, 8000 * (n + 1)).read_bytes() for n in range(3)
    ]

    def part(split: str, **columns: list) -> None:
        write_parquet(root / "data" / f"{split}-00000-of-00001.parquet", columns, ("audio",))

    part(
        "validation",
        sample_id=["P426_fileid_1", "P426_fileid_2"],
        system_id=["urgent_P426", "urgent_P426"],
        audio=made[:2],
        mos=[None, None],
        pesq=[2.5, float("nan")],
        utmos=[3.0, 0.1],
        dnsmos_ovrl=[2.75, 1.5],
        nothing_known=[1.0, 2.0],
    )
    part(
        "nonblind_test",
        sample_id=["noisy_7"],
        system_id=["urgent_P426"],
        audio=made[2:],
        mos=[3.5],
        pesq=[4.64],
        utmos=[None],
        dnsmos_ovrl=[None],
    )
    ratings = {"raw_ratings": [[4, 5, 3], [1, 2], []]} if year == 2024 else {}
    part(
        "blind_test_mos",
        sample_id=["fileid_1", "fileid_2", "fileid_3"],
        system_id=["urgent_P1"] * 3,
        audio=made,
        mos=[4.0, 3.0, 2.0],
        **ratings,
    )


def expect_urgent(root: Path, year: int) -> dict[str, list[Utterance]]:
    out = root.parent / "out"

    def clip(split: str, path: str, seconds: float, system: str, sample: str, reference: str, labels: dict, meta: dict):
        located = str(out / split / "audio" / path)
        return Utterance(f"{system}:{sample}", located, seconds, system, reference, labels, meta)

    train = [
        (
            "validation/P426/1.flac",
            0.5,
            "P426_fileid_1",
            "validation-1",
            {"pesq": 2.5, "utmos": 3.0, "dnsmos_ovrl": 2.75},
        ),
        ("validation/P426/2.flac", 0.6, "P426_fileid_2", "validation-2", {"dnsmos_ovrl": 1.5}),
        # Read with the bound of PESQ, 4.5.
        ("nonblind_test/P426/7.flac", 0.7, "noisy_7", "noisy_7", {"mos_overall": 3.5, "pesq": 4.5}),
    ]
    heard = [
        ({"mos_overall": 4.0}, {"mos_overall": [["", 4.0], ["", 5.0], ["", 3.0]]}),
        ({"mos_overall": 1.5}, {"mos_overall": [["", 1.0], ["", 2.0]], "published_mos": 3.0}),
        ({"mos_overall": 2.0}, {}),
    ]
    if year == 2025:
        heard = [({"mos_overall": mos}, {}) for mos in (4.0, 3.0, 2.0)]
    return {
        "train": [clip("train", p, s, "urgent_P426", sample, ref, labels, {}) for p, s, sample, ref, labels in train],
        "test": [
            clip(
                "test",
                f"blind_test_mos/P1/{n}.flac",
                round(0.4 + n / 10, 1),
                "urgent_P1",
                f"fileid_{n}",
                f"fileid_{n}",
                *found,
            )
            for n, found in enumerate(heard, 1)
        ],
    }
