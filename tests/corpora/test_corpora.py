"""`urgentmos prepare CORPUS`: small trees in the published layouts against manifests written by hand.

Each corpus has a builder with what is odd about it, and is then broken in the ways that happen.
"""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from urgentmos_jax.cli import main
from urgentmos_jax.corpora.registry import NAMES, corpus_of
from urgentmos_jax.manifests.reading import Pair, Utterance, read_pairs, read_utterances

datasets = pytest.importorskip("datasets")
openpyxl = pytest.importorskip("openpyxl")


def audio(path: Path, seconds: float = 0.5, rate_hz: int = 16000) -> Path:
    """A recording whose content is unique to its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).uniform(-0.1, 0.1, round(seconds * rate_hz))
    soundfile.write(path, noise, rate_hz, format=path.suffix[1:].upper())
    return path


def table(path: Path, *rows: str, bom: bool = False, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(("\ufeff" if bom else "") + "".join(row + end for row in rows), encoding="utf-8", newline="")


def sheet(path: Path, name: str, rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    page = book.create_sheet(name)
    for row in rows:
        page.append(row)
    book.save(path)


def parquet(path: Path, columns: dict[str, list], recordings: tuple[str, ...] = ()) -> None:
    """A file of a hub dataset; columns of recordings hold bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_dict(
        {k: [{"bytes": b, "path": None} for b in v] if k in recordings else v for k, v in columns.items()}
    )
    for name in recordings:
        made = made.cast_column(name, datasets.Audio(decode=False))
    made.to_parquet(str(path))


def prepared(name: str, source: Path, *flags: str) -> dict[str, tuple[list[Utterance] | list[Pair], dict]]:
    """{split: (records, report)}."""
    output = source.parent / "out"
    assert main(["prepare", name, "--source", str(source), "--output", str(output), *flags]) == 0
    found = {}
    for folder in sorted(output.iterdir()):
        pairs = folder / "data_pairs.jsonl"
        records, _ = read_pairs(pairs) if pairs.exists() else read_utterances(folder / "data.jsonl")
        found[folder.name] = records, json.loads((folder / "report.json").read_text())
    return found


def refused(capsys, name: str, source: Path, *flags: str) -> str:
    output = source.parent / "refused"
    capsys.readouterr()
    assert main(["prepare", name, "--source", str(source), "--output", str(output), *flags]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def pseudonym(listener: str) -> str:
    return hashlib.sha256(listener.encode()).hexdigest()[:8]


# One builder a corpus: files below `root`.


def build_voicemos(root: Path, track: str) -> None:
    wavs, sets = root / "DATA" / "wav", root / "DATA" / "sets"
    for n, name in enumerate(("sysaaaaa-utt0000001", "sysaaaaa-utt0000002", "sysbbbbb-utt0000003")):
        audio(wavs / f"{name}.wav", 0.5 + n / 10)
    suffix = "" if track == "ood" else ".wav"
    table(
        sets / "TRAINSET",
        f"sysaaaaa,sysaaaaa-utt0000001{suffix},4,x1,Jp_30-40_F_1_0",
        f"sysaaaaa,sysaaaaa-utt0000001{suffix},5,x2,Jp_20-30_M_1_0",
        "",
        f"sysaaaaa,sysaaaaa-utt0000002{suffix},2,x1,Jp_30-40_F_1_0",
    )
    table(sets / "DEVSET", f"sysbbbbb,sysbbbbb-utt0000003{suffix},1,x9,Jp_30-40_F_1_0")
    table(sets / "TESTSET", f"sysbbbbb,sysbbbbb-utt0000003{suffix},3,x9,Jp_30-40_F_1_0")
    table(
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


def build_chime(root: Path) -> None:
    for condition in ("C0", "C1"):
        audio(root / "listening_test" / "data" / condition / "S01.v2.wav", 0.5)
    table(
        root / "listening_test" / "MOS_results_listening_test.csv",
        "condition,sample,scale,rating_list,MOS",
        'C0,S01.v2.wav,OVRL,"[2, 3]",2.5',
        'C0,S01.v2.wav,SIG,"[4, 4, 5]",4.3333',
        'C0,S01.v2.wav,BAK,"[1.0, 1.0]",1',
        'C1,S01.v2.wav,OVRL,"[5]",5',
        'C1,S01.v2.wav,SIG,"[]",',
        'Ref,S01.v2.wav,OVRL,"[5, 5]",5',
    )


def expect_chime(root: Path) -> dict[str, list[Utterance]]:
    data = root / "listening_test" / "data"
    return {
        "test": [
            Utterance(
                "C0:S01.v2",
                str(data / "C0" / "S01.v2.wav"),
                0.5,
                "C0",
                "S01.v2",
                {"mos_overall": 2.5, "mos_signal": 4.3333, "mos_background": 1.0},
                {
                    "mos_overall": [["", 2.0], ["", 3.0]],
                    "mos_signal": [["", 4.0], ["", 4.0], ["", 5.0]],
                    "mos_background": [["", 1.0], ["", 1.0]],
                },
            ),
            Utterance("C1:S01.v2", str(data / "C1" / "S01.v2.wav"), 0.5, "C1", "S01.v2", {"mos_overall": 5.0}),
        ]
    }


NISQA_HEADER = (
    "db,con,file,filename_deg,filename_ref,mos,mos_std,votes,noi,noi_std,col,col_std,dis,dis_std,loud,loud_std"
)


def build_nisqa(root: Path) -> None:
    def part(name: str, *rows: str) -> None:
        folder = root / f"NISQA_{name}"
        table(folder / f"NISQA_{name}_file.csv", NISQA_HEADER, *rows)
        for row in rows:
            audio(folder / "deg" / row.split(",")[3], 0.4, 48000)

    part(
        "TRAIN_SIM",
        "a,3.0,x,c00003_x.wav,x.wav,3.25,0.5,5,2,0.25,3,,4,0.1,5,0",
        "a,4,x,book_1_s2.wav,book_1.wav,2,1,5,,,,,,,,",
        "a,5,x,book_7.wav,other.wav,2.5,,5,,,,,,,,",
    )
    part("TRAIN_LIVE", "b,3,x,live_1.wav,,4.0,0.7,5,,,,,,,,")
    part("VAL_SIM", "a,1,x,c1_x.wav,x.wav,1.5,0.5,5,,,,,,,,")
    part("VAL_LIVE", "a,1,x,live_2.wav,,1.25,0.5,5,,,,,,,,")
    for name in ("LIVETALK", "FOR", "P501"):
        part(f"TEST_{name}", "a,1,x,c00001_for_cnv_m_1035_02.wav,for_cnv_m_1035_02.wav,4.5,0.3,30,,,,,,,,")


def expect_nisqa(root: Path) -> dict[str, list[Utterance]]:
    def clip(
        part: str, name: str, uid: str, system: str, reference: str | None, mos: float, std: float | None, votes=5.0
    ):
        meta = ({} if std is None else {"mos_overall_std": std}) | {"mos_overall_votes": votes}
        path = str(root / f"NISQA_{part}" / "deg" / name)
        return Utterance(uid, path, 0.4, system, reference, {"mos_overall": mos}, meta)

    first = clip("TRAIN_SIM", "c00003_x.wav", "3:c00003_x", "TRAIN_SIM-3", None, 3.25, 0.5)
    first.metrics.update(mos_noisiness=2.0, mos_coloration=3.0, mos_discontinuity=4.0, mos_loudness=5.0)
    first.meta.update(mos_noisiness_std=0.25, mos_discontinuity_std=0.1, mos_loudness_std=0.0)
    sentence, test = "for_cnv_m_1035_02", "c00001_for_cnv_m_1035_02.wav"
    return {
        "train": [
            first,
            clip("TRAIN_LIVE", "live_1.wav", "3:live_1", "TRAIN_LIVE-3", None, 4.0, 0.7),
            clip("TRAIN_SIM", "book_7.wav", "5:book_7", "TRAIN_SIM-5", None, 2.5, None),
            clip("TRAIN_SIM", "book_1_s2.wav", "s2:book_1", "TRAIN_SIM-s2", "book_1", 2.0, 1.0),
        ],
        "dev": [
            clip("VAL_SIM", "c1_x.wav", "1:c1_x", "VAL_SIM-1", None, 1.5, 0.5),
            clip("VAL_LIVE", "live_2.wav", "1:live_2", "VAL_LIVE-1", None, 1.25, 0.5),
        ],
        **{
            name: [clip(f"TEST_{name}", test, f"1:{sentence}", f"TEST_{name}-1", sentence, 4.5, 0.3, 30.0)]
            for name in ("LIVETALK", "FOR", "P501")
        },
    }


def build_pstn(root: Path) -> None:
    audio(root / "pstn_train" / "015_a_b.wav", 0.5, 8000)
    audio(root / "pstn_train" / "NA_c.wav", 0.6, 8000)
    rows = ("015_a_b.wav,3.4,0.55,0.2,7", "NA_c.wav,2,,0.2,7")
    table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows, bom=True, end="\r\n")


def expect_pstn(root: Path) -> dict[str, list[Utterance]]:
    folder = root / "pstn_train"
    return {
        "train": [
            Utterance(
                "015:015",
                str(folder / "015_a_b.wav"),
                0.5,
                None,
                None,
                {"mos_overall": 3.4},
                {"mos_overall_std": 0.55},
            ),
            Utterance("NA:NA", str(folder / "NA_c.wav"), 0.6, None, None, {"mos_overall": 2.0}),
        ]
    }


def build_somos(root: Path) -> None:
    for name in ("novel_2007_0098_015.wav", "novel_2007_0098_016.wav"):
        audio(root / "audios" / name, 0.5, 24000)
    lists, header = root / "training_files" / "split1" / "clean", "systemId,utteranceId,choice,listenerId"
    name = "novel_2007_0098_015.wav"
    table(lists / "TRAINSET", header, f"015,{name},4,ab", f"015,{name},5,NA", f"015,{name},,x")
    table(lists / "VALIDSET", header, "016,novel_2007_0098_016.wav,1,ab")
    table(lists / "TESTSET", header, "016,novel_2007_0098_016.wav,2,ab")
    table(lists.parent / "full" / "TRAINSET", header, f"015,{name},1,spam")


def expect_somos(root: Path) -> dict[str, list[Utterance]]:
    def clip(system: str, ratings: list) -> Utterance:
        mean = sum(rating for _, rating in ratings) / len(ratings)
        path = str(root / "audios" / f"novel_2007_0098_{system}.wav")
        labels = {"mos_overall": mean}
        return Utterance(
            f"{system}:novel_2007_0098", path, 0.5, system, "novel_2007_0098", labels, {"mos_overall": ratings}
        )

    return {
        "train": [clip("015", [["ab", 4.0], ["NA", 5.0]])],
        "dev": [clip("016", [["ab", 1.0]])],
        "test": [clip("016", [["ab", 2.0]])],
    }


def build_tcd(root: Path) -> None:
    audio(root / "TCD-VOIP" / "Test Set" / "echo" / "C_01_ECHO_FA.wav", 0.5, 48000)
    audio(root / "TCD-VOIP" / "Test Set" / "clip" / "C_11_CLIP_MK.wav", 0.6, 48000)
    listeners = list(range(1, 25))
    rows = [
        ["Filename", "ConditionID", *listeners, "sample MOS"],
        ["C_01_ECHO_FA.wav", 1, *([4] * 12), *([3] * 11), None, 3.52],
        ["C_11_CLIP_MK.wav", "21", *([2] * 24), 2],
    ]
    sheet(root / "TCD-VOIP" / "ratings.xlsx", "Subjective Test Scores", rows)


def expect_tcd(root: Path) -> dict[str, list[Utterance]]:
    folder = root / "TCD-VOIP" / "Test Set"
    mixed = [[str(n), 4.0 if n <= 12 else 3.0] for n in range(1, 24)]
    same = [[str(n), 2.0] for n in range(1, 25)]
    return {
        "train": [
            Utterance(
                "001:ECHO_FA",
                str(folder / "echo" / "C_01_ECHO_FA.wav"),
                0.5,
                "ECHO-001",
                "ECHO_FA",
                {"mos_overall": 3.5217},
                {"mos_overall": mixed},
            ),
            Utterance(
                "021:CLIP_MK",
                str(folder / "clip" / "C_11_CLIP_MK.wav"),
                0.6,
                "CLIP-021",
                "CLIP_MK",
                {"mos_overall": 2.0},
                {"mos_overall": same},
            ),
        ]
    }


def build_tencent(root: Path) -> None:
    inside = root / "TencentCorups"
    for reverberation in ("without", "with"):
        folder = f"{reverberation}ReverberationTrainDev"
        audio(inside / folder / "a.wav.b.wav", 0.5)
        table(inside / f"{folder}MOS.csv", "deg_wav,mos", f"./{folder}/a.wav.b.wav,2.125")


def expect_tencent(root: Path) -> dict[str, list[Utterance]]:
    def clip(folder: str) -> Utterance:
        key = f"{folder}_a.wav.b"
        path = str(root / "TencentCorups" / folder / "a.wav.b.wav")
        return Utterance(f"{key}:{key}", path, 0.5, None, None, {"mos_overall": 2.125})

    return {"train": [clip("withReverberationTrainDev"), clip("withoutReverberationTrainDev")]}


def build_tmhint(root: Path) -> None:
    inside = root / "TMHINTQI"
    audio(inside / "train" / "FCN_snr0_babble_TMHINT_g1_14_01.wav", 0.5)
    audio(inside / "train" / "clean_TMHINT_g1_14_02.wav", 0.6)
    audio(inside / "test" / "FCN_snr0_babble_TMHINT_g1_14_03.wav", 0.7)
    table(
        inside / "raw_data.csv",
        "idx,method,uttr,snr,noise,quality_score,intelligibility_score,file_name",
        "0,FCN,g1_14_01,0,babble,4,10,FCN_snr0_babble_TMHINT_g1_14_01",
        "1,FCN,g1_14_01,0,babble,3,9,FCN_snr0_babble_TMHINT_g1_14_01",
        "2,FCN,g1_14_01,0,babble,,9,FCN_snr0_babble_TMHINT_g1_14_01",
        "3,clean,g1_14_02,,,5,10,clean_TMHINT_g1_14_02",
        "4,FCN,g1_14_03,0,babble,1,2,FCN_snr0_babble_TMHINT_g1_14_03",
    )


def expect_tmhint(root: Path) -> dict[str, list[Utterance]]:
    def clip(split: str, name: str, seconds: float, system: str, reference: str, *ratings: float) -> Utterance:
        path = str(root / "TMHINTQI" / split / f"{name}.wav")
        meta = {"mos_overall": [["", rating] for rating in ratings]} if len(ratings) > 1 else {}
        labels = {"mos_overall": sum(ratings) / len(ratings)}
        return Utterance(f"{system}:{reference}", path, seconds, system, reference, labels, meta)

    system = "FCN-SNR0-babble"
    first, third = "FCN_snr0_babble_TMHINT_g1_14_01", "FCN_snr0_babble_TMHINT_g1_14_03"
    return {
        "train": [
            clip("train", first, 0.5, system, "TMHINT_g1_14_01", 4.0, 3.0),
            clip("train", "clean_TMHINT_g1_14_02", 0.6, "clean-SNR-", "TMHINT_g1_14_02", 5.0),
        ],
        "test": [clip("test", third, 0.7, system, "TMHINT_g1_14_03", 1.0)],
    }


def build_ttsds2(root: Path) -> None:
    audio(root / "clean" / "my system" / "a.wav", 0.5, 22050)
    audio(root / "clean" / "other" / "a.wav", 0.6, 22050)
    table(
        root / "subjective_results.csv",
        "audio,dataset,system,rating_type,value,annotator,survey_part,page,id",
        "clean/my system/a.wav,clean,my system,mos,4.0,p1,1,1,1",
        "clean/my system/a.wav,clean,my system,mos,3.0,p2,1,1,2",
        "clean/my system/a.wav,clean,my system,smos,1.0,p2,1,1,3",
        "clean/other/a.wav,clean,other,mos,2.0,p1,1,1,4",
    )


def expect_ttsds2(root: Path) -> dict[str, list[Utterance]]:
    def clip(uid: str, system: str, seconds: float, *ratings: list) -> Utterance:
        mean = sum(rating for _, rating in ratings) / len(ratings)
        meta, path = {"mos_overall": list(ratings)}, str(root / "clean" / system / "a.wav")
        return Utterance(uid, path, seconds, f"clean-{system}", "a", {"mos_overall": mean}, meta)

    return {
        "train": [
            clip("clean-my%20system:a", "my system", 0.5, ["p1", 4.0], ["p2", 3.0]),
            clip("clean-other:a", "other", 0.6, ["p1", 2.0]),
        ]
    }


def build_speecheval(root: Path) -> None:
    for n, name in enumerate("abcd"):
        audio(root / "rawdata" / "audio" / f"{name}.wav", 0.5 + n / 10)
    rows = [
        ("CompareEval", "k1", "audio/a.wav", "audio/b.wav"),
        ("CompareEval", "k2", "audio/a.wav", "audio/c.wav"),
        ("CompareEval", "k3", "audio/c.wav", "audio/d.wav"),
        ("CompareEval", "k4", "audio/b.wav", "audio/d.wav"),
        ("CompareEval", "unlisted", "audio/b.wav", "audio/d.wav"),
        ("QualityEval", "k1", "audio/a.wav", None),
    ]
    names = ("task", "key", "path", "path_B")
    for split in ("train", "validation", "test"):
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        parquet(root / "rawdata" / "data" / f"{split}-00000-of-00001.parquet", columns)
        preferences = {"k1": "A", "k2": "B", "k3": "tie", "k4": "Tie"}
        lines = [json.dumps({"key": key, "preference": value}) for key, value in preferences.items()]
        table(root / "preference" / f"{split}.jsonl", *lines)


def expect_speecheval(root: Path) -> dict[str, list[Pair]]:
    seconds = dict(zip("abcd", (0.5, 0.6, 0.7, 0.8), strict=True))

    def pair(a: str, b: str, label: float, key: str) -> Pair:
        names = (f"audio/{a}.wav", f"audio/{b}.wav")
        paths = tuple(str(root / "rawdata" / name) for name in names)
        meta = {"key": key, "label": "preference"}
        return Pair(names, paths, (seconds[a], seconds[b]), {"mos_overall": label}, meta)

    pairs = [pair("a", "b", 1.0, "k1"), pair("a", "c", -1.0, "k2"), pair("c", "d", 0.0, "k3")]
    return {"train": pairs, "dev": pairs, "test": pairs}


def build_speechjudge(root: Path) -> None:
    made = [audio(root.parent / "made" / f"{n}.wav", 0.5 + n / 10, 24000).read_bytes() for n in range(4)]
    for split in ("train", "dev", "test", "other"):
        columns = {
            "index": [10, 11, 12],
            "audioA": [made[0], made[1], made[2]],
            "audioB": [made[1], made[2], made[3]],
            "naturalness_label": ["A", "Tie", "both bad"],
        }
        parquet(root / "data" / f"{split}-00000-of-00001.parquet", columns, ("audioA", "audioB"))


def expect_speechjudge(root: Path) -> dict[str, list[Pair]]:
    def pair(folder: Path, index: int, seconds: tuple[float, float], label: float) -> Pair:
        uids = (f"{folder.name}-{index}_a", f"{folder.name}-{index}_b")
        paths = tuple(str(folder / "audio" / f"{index}_{side}.wav") for side in "ab")
        return Pair(uids, paths, seconds, {"mos_overall": label}, {"index": index, "label": "preference"})

    return {
        split: [
            pair(root.parent / "out" / split, 10, (0.5, 0.6), 1.0),
            pair(root.parent / "out" / split, 11, (0.6, 0.7), 0.0),
        ]
        for split in ("train", "dev", "test", "other")
    }


def build_urgent(root: Path, year: int) -> None:
    made = [audio(root.parent / "made" / f"{n}.flac", 0.5 + n / 10, 8000 * (n + 1)).read_bytes() for n in range(3)]

    def part(split: str, **columns: list) -> None:
        parquet(root / "data" / f"{split}-00000-of-00001.parquet", columns, ("audio",))

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


BUILD = {
    "bc19": (lambda root: build_voicemos(root / "ood", "ood"), lambda root: expect_voicemos(root / "ood", "ood")),
    "bvcc": (lambda root: build_voicemos(root / "main", "main"), lambda root: expect_voicemos(root / "main", "main")),
    "chime-7-udase-eval": (build_chime, expect_chime),
    "nisqa": (lambda root: build_nisqa(root / "NISQA_Corpus"), lambda root: expect_nisqa(root / "NISQA_Corpus")),
    "pstn": (build_pstn, expect_pstn),
    "somos": (build_somos, expect_somos),
    "speecheval": (build_speecheval, expect_speecheval),
    "speechjudge": (build_speechjudge, expect_speechjudge),
    "tcd-voip": (build_tcd, expect_tcd),
    "tencent": (build_tencent, expect_tencent),
    "tmhint-qi": (build_tmhint, expect_tmhint),
    "ttsds2": (build_ttsds2, expect_ttsds2),
    "urgent2024-sqa": (lambda root: build_urgent(root, 2024), lambda root: expect_urgent(root, 2024)),
    "urgent2025-sqa": (lambda root: build_urgent(root, 2025), lambda root: expect_urgent(root, 2025)),
}


@pytest.fixture
def root(tmp_path) -> Path:
    # A folder whose name is of no consequence, whatever it holds.
    folder = tmp_path / "EVAL TRAIN VAL" / "source"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_manifest_of_a_corpus(name, root):
    build, expect = BUILD[name]
    build(root)
    found, expected = prepared(name, root), expect(root)
    assert found.keys() == expected.keys() == corpus_of(name).splits.keys()
    for split, wanted in expected.items():
        records, report = found[split]
        order = (lambda record: record.uids) if corpus_of(name).pairs else (lambda record: record.uid)
        assert records == sorted(wanted, key=order), split
        assert report["corpus"] == name and report["published"] == corpus_of(name).splits[split]


def test_what_is_left_out_is_counted(root, capsys):
    build_chime(root)
    report = prepared("chime-7-udase-eval", root)["test"][1]
    assert report["rows"] == {"read": 6, "kept": 4, "dropped": {"no rating": 1, "clean references": 1}}
    assert "as published this split has 640 utterances" in capsys.readouterr().err
    for name in ("tmhint-qi", "ttsds2", "speecheval", "urgent2024-sqa", "nisqa", "somos"):
        shutil.rmtree(root.parent)
        root.mkdir(parents=True)
        BUILD[name][0](root)
        reports = {split: report for split, (_, report) in prepared(name, root).items()}
        train = reports["train"]
        if name == "tmhint-qi":
            assert train["rows"] == {"read": 5, "kept": 3, "dropped": {"recording in test/": 1}}
            assert train["blank_ratings"] == {"mos_overall": 1}
        elif name == "ttsds2":
            assert train["rows"]["dropped"] == {"rating of kind smos": 1}
        elif name == "speecheval":
            wanted = {"preference 'Tie'": 1, "not in the list of preferences": 1, "other tasks": 1}
            assert train["rows"] == {"read": 6, "kept": 3, "dropped": wanted}
        elif name == "urgent2024-sqa":
            assert train["notes"] == {"utmos far outside 1 to 5, left out": 1}
            assert train["blank_ratings"] == {"pesq": 1}
            (note,) = reports["test"]["notes"]
            assert note.startswith("published mos is not the mean")
        elif name == "nisqa":
            assert train["notes"] == {"names that begin with book, but not with their reference": 1}
        else:
            assert train["blank_ratings"] == {"mos_overall": 1} and train["ratings"] == {"mos_overall": 2}


def remove_column(path: Path, column: str) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index(column)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([cell for i, cell in enumerate(row) if i != place] for row in rows)


TABLES = {
    "chime-7-udase-eval": ("listening_test/MOS_results_listening_test.csv", "scale"),
    "nisqa": ("NISQA_Corpus/NISQA_VAL_LIVE/NISQA_VAL_LIVE_file.csv", "filename_ref"),
    "pstn": ("pstn_train/pstn_train.csv", "std"),
    "somos": ("training_files/split1/clean/VALIDSET", "utteranceId"),
    "tencent": ("TencentCorups/withReverberationTrainDevMOS.csv", "mos"),
    "tmhint-qi": ("TMHINTQI/raw_data.csv", "snr"),
    "ttsds2": ("subjective_results.csv", "rating_type"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_column(name, root, capsys):
    BUILD[name][0](root)
    if name in TABLES:
        file, column = TABLES[name]
        remove_column(root / file, column)
        assert f"{root / file}:1: no column '{column}'; the columns are" in refused(capsys, name, root)
    elif name in ("bc19", "bvcc"):
        file = root / ("ood" if name == "bc19" else "main") / "DATA" / "sets" / "DEVSET"
        table(file, "sysbbbbb,sysbbbbb-utt0000003,1,x9")
        err = refused(capsys, name, root)
        assert f"{file}:1: has 4 cells, 5 are wanted" in err and "by hand" not in err
        table(file, "sysbbbbb,nohyphen.wav,1,x9,somebody")
        assert "give a system and a name SYSTEM-UTTERANCE" in refused(capsys, name, root)
    elif name == "tcd-voip":
        file = root / "TCD-VOIP" / "ratings.xlsx"
        sheet(file, "Subjective Test Scores", [["Filename", 1, 2], ["C_01_ECHO_FA.wav", 3, 4]])
        assert f"{file}:1: no column 'ConditionID'" in refused(capsys, name, root)
        sheet(file, "Subjective Test Scores", [["Filename", "ConditionID", "a"], ["C_01_ECHO_FA.wav", 3, 4]])
        assert "no columns of listeners, 1 to 24" in refused(capsys, name, root)
        sheet(file, "Scores", [["Filename"]])
        assert "no sheet 'Subjective Test Scores'" in refused(capsys, name, root)
    elif name == "speecheval":
        table(root / "preference" / "train.jsonl", '{"key": "k1"}', '{"key": "k2", "preference": "A"}')
        assert "train.jsonl:1: give a key and a preference" in refused(capsys, name, root)
    else:
        column = "naturalness_label" if name == "speechjudge" else "sample_id"
        file = next((root / "data").glob("*test-*.parquet"))
        datasets.Dataset.from_parquet(str(file)).remove_columns(column).to_parquet(str(file) + "2")
        Path(str(file) + "2").replace(file)
        assert f"no column '{column}'" in refused(capsys, name, root)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("speechjudge", "urgent"))])
def test_a_missing_and_an_undecodable_recording(name, root, capsys):
    BUILD[name][0](root)
    recordings = sorted(root.rglob("*.wav"))
    for how, words in (("missing", "cannot be found"), ("damaged", "the decoder says")):
        kept = recordings[0].read_bytes()
        recordings[0].unlink()
        if how == "damaged":
            recordings[0].write_text("<html>404</html>")
        err = refused(capsys, name, root)
        # A recording of TMHINT-QI belongs to the split in whose folder it lies.
        wanted = recordings[0].name
        assert wanted in err and words in err and "--skip-bad" in err
        recordings[0].write_bytes(kept)
    recordings[0].write_text("<html>404</html>")
    output = root.parent / "out"
    flags = ("--source", str(root), "--output", str(output), "--skip-bad", "0.7")
    code = main(["prepare", name, *flags])
    if code:  # A split had this recording alone; the others are written.
        assert "1 of 1 recordings are bad, more than 70 %" in capsys.readouterr().err
    else:
        reports = [json.loads(path.read_text()) for path in output.glob("*/report.json")]
        assert any(recordings[0].stem in bad["audio"] for report in reports for bad in report["bad_audio"])


@pytest.mark.parametrize("bad", [b"nothing", None])
@pytest.mark.parametrize("name", ["speechjudge", "urgent2024-sqa", "urgent2025-sqa"])
def test_a_missing_and_an_undecodable_embedded_recording(name, bad, root, capsys):
    BUILD[name][0](root)
    file = (
        root
        / "data"
        / ("dev-00000-of-00001.parquet" if name == "speechjudge" else "nonblind_test-00000-of-00001.parquet")
    )
    good = [audio(root.parent / "made" / f"x{n}.wav", 0.5).read_bytes() for n in range(2)]
    if name == "speechjudge":
        columns = {"index": [1, 2], "audioA": [good[0], bad], "audioB": [good[1], good[0]]}
        parquet(file, columns | {"naturalness_label": ["A", "B"]}, ("audioA", "audioB"))
        split, words = "dev", "2_a"
    else:
        columns = {
            "sample_id": ["a_1", "a_2"],
            "system_id": ["s_x", "s_x"],
            "audio": [good[0], bad],
            "mos": [1.0, 2.0],
        }
        parquet(file, columns, ("audio",))
        split, words = "train", f"nonblind_test{'/'}x{'/'}2"
    err = refused(capsys, name, root)
    assert words in err and "--skip-bad" in err
    records, report = prepared(name, root, "--skip-bad", "0.6")[split]
    assert len(report["bad_audio"]) == 1 and words in report["bad_audio"][0]["error"]
    # What was extracted is not written again.
    files = {path: path.stat().st_mtime_ns for path in (root.parent / "out").rglob("audio/**/*.*")}
    assert len(files) >= len(records)
    prepared(name, root, "--skip-bad", "0.6")
    assert files == {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("name", NAMES)
def test_a_duplicate_id(name, root, capsys):
    BUILD[name][0](root)
    if name in ("bc19", "bvcc"):
        folder = root / ("ood" if name == "bc19" else "main") / "DATA"
        audio(folder / "wav" / "other-utt0000001.wav")
        with (folder / "sets" / "TRAINSET").open("a") as file:
            file.write("sysaaaaa,other-utt0000001.wav,4,x1,somebody\n")
    elif name == "tencent":
        folder = root / "TencentCorups"
        for path in ("x/y.wav", "x_y.wav"):
            audio(folder / path)
        table(folder / "withReverberationTrainDevMOS.csv", "deg_wav,mos", "./x/y.wav,2", "./x_y.wav,2")
    elif name == "speecheval":
        line = (root / "preference" / "test.jsonl").read_text().splitlines()[0]
        with (root / "preference" / "test.jsonl").open("a") as file:
            file.write(line + "\n")
        assert 'test.jsonl:5: key "k1" is that of line 1 too' in refused(capsys, name, root)
        build_speecheval(root)
        file = root / "rawdata" / "data" / "test-00000-of-00001.parquet"
        rows = datasets.Dataset.from_parquet(str(file))
        datasets.concatenate_datasets([rows, rows.select([2])]).to_parquet(f"{file}.new")
        Path(f"{file}.new").replace(file)
        assert "(test):6: key 'k3' is that of" in refused(capsys, name, root)
        return
    elif name == "speechjudge" or name.startswith("urgent"):
        made = [audio(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
        file = next((root / "data").glob("dev-*" if name == "speechjudge" else "blind_test_mos-*"))
        if name == "speechjudge":
            columns = {"index": [5, 5], "audioA": made, "audioB": made[::-1], "naturalness_label": ["A", "B"]}
            parquet(file, columns, ("audioA", "audioB"))
            assert "(dev):1: index 5 is that of" in refused(capsys, name, root)
        else:
            columns = {"sample_id": ["x_1", "x_1"], "system_id": ["s_1", "s_1"], "audio": made, "mos": [3.0, 3.0]}
            parquet(file, columns, ("audio",))
            assert "(blind_test_mos):1: system_id 's_1', sample_id 'x_1' are those of" in refused(capsys, name, root)
        return
    elif name == "nisqa":
        folder = root / "NISQA_Corpus" / "NISQA_TEST_FOR"
        table(folder / "NISQA_TEST_FOR_file.csv", NISQA_HEADER, *(f"a,1,x,{n}_s.wav,s.wav,3,,5,,,,,,,," for n in "ab"))
        for n in "ab":
            audio(folder / "deg" / f"{n}_s.wav")
    elif name == "pstn":
        audio(root / "pstn_train" / "015_other.wav")
        with (root / "pstn_train" / "pstn_train.csv").open("a") as file:
            file.write("015_other.wav,1,1,1,1\r\n")
    elif name == "somos":
        audio(root / "audios" / "novel_2007_0098_x.wav")
        with (root / "training_files" / "split1" / "clean" / "TRAINSET").open("a") as file:
            file.write("015,novel_2007_0098_x.wav,1,ab\n")
    elif name == "tcd-voip":
        audio(root / "TCD-VOIP" / "again" / "C_01_ECHO_FA.wav")
        assert "recordings of one name" in refused(capsys, name, root)
        return
    elif name == "tmhint-qi":
        audio(root / "TMHINTQI" / "test" / "FCN2_TMHINT_g1_14_03.wav")
        with (root / "TMHINTQI" / "raw_data.csv").open("a") as file:
            file.write("9,FCN,x,0,babble,1,1,FCN2_TMHINT_g1_14_03\n")
    elif name == "ttsds2":
        audio(root / "elsewhere" / "a.wav")
        with (root / "subjective_results.csv").open("a") as file:
            file.write("elsewhere/a.wav,clean,other,mos,1,p,1,1,1\n")
    else:
        audio(root / "listening_test" / "data" / "C0" / "S01.v2.flac")
        with (root / "listening_test" / "MOS_results_listening_test.csv").open("a") as file:
            file.write('C0,S01.v2.flac,OVRL,"[1]",1\n')
    err = refused(capsys, name, root)
    assert "has the id" in err and "on line" in err


def test_a_wrong_folder_and_a_missing_list(root, capsys):
    err = refused(capsys, "speechjudge", root / "none")
    assert err.startswith(f"urgentmos prepare: {root / 'none'}: no such folder; --download") and "hf auth login" in err
    for name in NAMES:
        err = refused(capsys, name, root)
        assert str(root) in err and (
            "none of these is there" in err or "not the folder" in err or "hub dataset" in err
        ), name
        if corpus_of(name).by_hand:
            assert corpus_of(name).by_hand in err
    build_somos(root)
    (root / "training_files" / "split1" / "clean" / "TESTSET").unlink()
    assert "TESTSET" in refused(capsys, "somos", root)
    # What is in order is kept.
    assert len(read_utterances(root.parent / "refused" / "train" / "data.jsonl")[0]) == 1
    assert prepared("somos", root, "--splits", "dev,train").keys() == {"dev", "train"}
    assert "somos has no split x; it has train, dev, test" in refused(capsys, "somos", root, "--splits", "x")


def test_names_in_tables_that_reach_out(root):
    made = [audio(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"index": ["../../../canary", ".."], "audioA": made, "audioB": made[::-1]}
    for split in ("train", "dev", "test", "other"):
        file = root / "data" / f"{split}-00000-of-00001.parquet"
        parquet(file, columns | {"naturalness_label": ["A", "B"]}, ("audioA", "audioB"))
    prepared("speechjudge", root)
    written = {path.name for path in (root.parent / "out" / "train" / "audio").iterdir()}
    canary = "%2E.%2F..%2F..%2Fcanary"
    assert written == {f"{name}_{side}.wav" for name in (canary, "%2E.") for side in "ab"}
    assert not list(root.parent.rglob("canary*"))
    system = "a_../../../canary"
    for part in ("validation", "nonblind_test", "blind_test_mos"):
        columns = {"sample_id": [f"{part}_.."], "system_id": [system], "audio": made[:1], "mos": [3.0]}
        parquet(root / "urgent" / "data" / f"{part}-00000-of-00001.parquet", columns, ("audio",))
    assert main(["prepare", "urgent2024-sqa", "--source", str(root / "urgent"), "--output", str(root / "out")]) == 0
    (written,) = (root / "out" / "test" / "audio").rglob("*.wav")
    assert written.relative_to(root / "out" / "test" / "audio").parts == ("blind_test_mos", canary, "%2E..wav")
    assert not list(root.parent.rglob("canary*"))


def test_ratings_of_a_hub_dataset_that_are_none(root, capsys):
    build_urgent(root, 2024)
    file = next((root / "data").glob("blind_test_mos-*"))
    made = [audio(root.parent / "made" / f"{n}.wav", 0.5).read_bytes() for n in range(2)]
    columns = {"sample_id": ["x_1", "x_2"], "system_id": ["s_1", "s_1"], "audio": made, "mos": [3.0, 2.0]}
    parquet(file, columns | {"raw_ratings": [[4.0, None, 2.0], None]}, ("audio",))
    (one, two), report = prepared("urgent2024-sqa", root, "--splits", "test")["test"]
    assert one.metrics == {"mos_overall": 3.0} and one.meta == {"mos_overall": [["", 4.0], ["", 2.0]]}
    assert two.metrics == {"mos_overall": 2.0} and report["blank_ratings"] == {"mos_overall": 1}
    parquet(file, columns | {"mos": ["good", "2.0"]}, ("audio",))
    assert "(blind_test_mos):0: mos_overall 'good' is no number" in refused(capsys, "urgent2024-sqa", root)


def test_one_per_cent_of_the_recordings_may_be_bad(root, capsys):
    names = [f"{n:03}.wav" for n in range(200)]
    for name in names:
        audio(root / "pstn_train" / name, 0.01, 8000)
    table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std", *(f"{name},3,0.5" for name in names))
    for name in names[:2]:
        (root / "pstn_train" / name).unlink()
    assert "--skip-bad" in refused(capsys, "pstn", root)
    records, report = prepared("pstn", root, "--skip-bad")["train"]
    assert len(records) == 198 and [bad["line"] for bad in report["bad_audio"]] == [2, 3]
    assert "left out, line 2: " in capsys.readouterr().err
    (root / "pstn_train" / names[2]).write_text("<html>")
    assert "3 of 200 recordings are bad, more than 1 %" in refused(capsys, "pstn", root, "--skip-bad")
    assert len(prepared("pstn", root, "--skip-bad", "0.02")["train"][0]) == 197


def test_a_list_without_rows(root, capsys):
    build_ttsds2(root)
    table(root / "subjective_results.csv", "audio,dataset,system,rating_type,value,annotator", "a,b,c,smos,1,d")
    err = refused(capsys, "ttsds2", root)
    assert "subjective_results.csv: no rows to keep (rating of kind smos: 1)" in err


def test_recordings_elsewhere(root):
    build_somos(root)
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (root / "audios").rename(elsewhere / "audios")
    (utterance,), _ = prepared("somos", root, "--audio-root", str(elsewhere))["train"]
    assert utterance.audio_path == str(elsewhere / "audios" / "novel_2007_0098_015.wav")


def test_hold_out(root, capsys):
    for n in range(400):
        audio(root / "pstn_train" / f"{n}_x.wav", 0.01, 8000)
    rows = [f"{n}_x.wav,{1 + n % 5},0.5,1,5" for n in range(400)]
    table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows)
    found = {
        split: {u.uid for u in records} for split, (records, _) in prepared("pstn", root, "--hold-out", "0.1").items()
    }
    assert found.keys() == {"train", "dev"} and not found["train"] & found["dev"]
    assert len(found["train"]) + len(found["dev"]) == 400 and 20 <= len(found["dev"]) <= 60
    # The same ones from another order of the list.
    table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std,95%CI,votes", *rows[::-1])
    again = prepared("pstn", root, "--hold-out", "0.1")
    assert found == {split: {u.uid for u in records} for split, (records, _) in again.items()}
    assert "nothing to hold out" in refused(capsys, "somos", root, "--hold-out", "0.1")


def test_side_files_where_dev_is_held_out(root):
    for n in range(100):
        audio(root / "pstn_train" / f"{n}.wav", 0.01, 8000)
    table(root / "pstn_train" / "pstn_train.csv", "filename,MOS,std", *(f"{n}.wav,3,0.5" for n in range(100)))
    table(root.parent / "meta" / "pstn" / "train" / "utmos.scp", *(f"{n}:{n} {1 + n / 25}" for n in range(100)))
    found = prepared("pstn", root, "--hold-out", "0.1", "--side-files", str(root.parent / "meta"))
    for records, report in found.values():
        assert all(one.metrics["utmos"] == pytest.approx(1 + int(one.uid.split(":")[0]) / 25) for one in records)
        counts = {"matched": len(records), "not_in_corpus": 0, "without": 0}
        assert report["side_files"] == {"utmos.scp": counts}
    assert found.keys() == {"train", "dev"}
    build_speechjudge(root)
    assert len(prepared("speechjudge", root, "--splits", "test", "--side-files", str(root / "none"))["test"][0]) == 2


def test_side_files(root, capsys):
    build_somos(root)
    audio(root / "audios" / "novel_2007_0099_015.wav", 0.5, 24000)
    with (root / "training_files" / "split1" / "clean" / "TRAINSET").open("a") as file:
        file.write("015,novel_2007_0099_015.wav,3,ab\n")
    side = root.parent / "meta" / "somos" / "train"
    first, second = "015:novel_2007_0098", "015:novel_2007_0099"
    table(side / "utmos.scp", f"{first} 3.25", f"{second} 2.00004")
    table(side / "scoreq.scp", f"{first} 4.5", "016:other 3")
    table(side / "mos_overall.scp", f"{first} 1.0")
    table(side / "wav.scp", f"{first} /far/away.wav")
    table(side / "utt2dur", f"{first} 0.500", f"{second} 9.000")
    table(side / "meta.jsonl", json.dumps({"uid": second, "note": "x", "mos_overall": [["q", 1]]}))
    flags = ("--splits", "train", "--side-files", str(root.parent / "meta"))
    (one, two), report = prepared("somos", root, *flags)["train"]
    assert one.metrics == {"mos_overall": 4.5, "utmos": 3.25, "scoreq": 4.5}
    assert two.metrics == {"mos_overall": 3.0, "utmos": 2.0} and two.meta == {"mos_overall": [["ab", 3.0]], "note": "x"}
    assert report["side_files"] == {
        "mos_overall.scp": {"matched": 1, "not_in_corpus": 0, "without": 1},
        "scoreq.scp": {"matched": 1, "not_in_corpus": 1, "without": 1},
        "utmos.scp": {"matched": 2, "not_in_corpus": 0, "without": 0},
        "utt2dur": {"matched": 2, "not_in_corpus": 0, "without": 0},
        "meta.jsonl": {"matched": 1, "not_in_corpus": 0, "without": 1},
    }
    assert {note.split(",")[0]: count for note, count in report["notes"].items()} == {
        "mos_overall.scp differs from the corpus's own mos_overall": 1,
        "utt2dur is more than 0.5 s off the recording": 1,
    }
    assert "side file scoreq.scp: 1 matched, 1 ids not in the corpus, 1 utterances without" in capsys.readouterr().err
    table(side / "utmos.scp", "a 1", "b 2", "c x")
    err = refused(capsys, "somos", root, *flags)
    assert "utmos.scp:3: 'c x' is not `uid number`" in err and "only 0 of its 2 ids are those of the corpus" in err
    shutil.rmtree(side)
    assert "no side files" in refused(capsys, "somos", root, *flags)


def test_a_folder_of_ones_own(root, capsys):
    for name in ("a", "b"):
        audio(root / "wavs" / f"{name} 1.wav")
    long = "wav_path,system_id,reference_id,dimension,score,listener_id,score_std"
    rows = ("wavs/a 1.wav,NA,015,mos_overall,4,l1,", "wavs/a 1.wav,NA,015,mos_overall,5,l2,")
    table(root / "data" / "train.csv", long, *rows, "wavs/a 1.wav,NA,015,mos_prosody,2.0,,0.5", "wavs/b 1.wav,x,,,3,,")
    table(root / "data" / "dev.csv", "wav_path,system_id,reference_id,utmos,pesq", "wavs/a 1.wav,NA,015,3.123456,")
    found = prepared("custom", root)
    a, b = (str(root / "wavs" / f"{name} 1.wav") for name in ("a", "b"))
    assert found["train"][0] == [
        Utterance("NA:015", a, 0.5, "NA", "015", {"mos_overall": 4.5, "mos_prosody": 2.0}, {
            "mos_overall": [["l1", 4.0], ["l2", 5.0]], "mos_prosody_std": 0.5,
        }),
        Utterance("x:wavs/b%201.wav", b, 0.5, "x", None, {"mos_overall": 3.0}),
    ]  # fmt: skip
    assert found["dev"][0] == [Utterance("NA:015", a, 0.5, "NA", "015", {"utmos": 3.1235})]
    assert found["train"][1]["corpus"] == "source" and found.keys() == {"train", "dev"}
    table(root / "data" / "dev.csv", "wav_path,system_id,reference_id,other", "wavs/a 1.wav,NA,015,3")
    assert "no columns of labels" in refused(capsys, "custom", root)
    shutil.rmtree(root / "data")
    assert "none of" in refused(capsys, "custom", root)


def test_progress_is_shown(root, capsys, monkeypatch):
    build_pstn(root)
    prepared("pstn", root)
    assert "recordings:" not in capsys.readouterr().err  # Where nobody looks a bar is noise.
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    prepared("pstn", root)
    assert "train: recordings: 100%" in capsys.readouterr().err
    build_speechjudge(root)
    prepared("speechjudge", root, "--splits", "test")
    assert "source test: rows: 3row" in capsys.readouterr().err


def test_the_list_of_corpora(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--list"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for name in (*NAMES, "custom"):
        assert f"\n{name}\n" in f"\n{out}"
    for words in ("CC BY-NC-SA 4.0", "https://zenodo.org/records/7378801", "train 58709", "01_get.py"):
        assert words in out
