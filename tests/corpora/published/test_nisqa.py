"""NISQA: seven parts, conditions numbered anew in each; means and standard deviations."""

from pathlib import Path

from tests.helpers.corpus_trees import write_recording, write_table
from tests.helpers.preparing import check_bad_recordings, check_manifests, check_missing_column, check_taken_id
from urgentmos_jax.manifests.records import Utterance

NISQA_HEADER = (
    "db,con,file,filename_deg,filename_ref,mos,mos_std,votes,noi,noi_std,col,col_std,dis,dis_std,loud,loud_std"
)


def build(root: Path) -> None:
    def part(name: str, *rows: str) -> None:
        folder = root / "NISQA_Corpus" / f"NISQA_{name}"
        write_table(folder / f"NISQA_{name}_file.csv", NISQA_HEADER, *rows)
        for row in rows:
            write_recording(folder / "deg" / row.split(",")[3], 0.4, 48000)

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


def expect(root: Path) -> dict[str, list[Utterance]]:
    def clip(
        part: str, name: str, uid: str, system: str, reference: str | None, mos: float, std: float | None, votes=5.0
    ):
        meta = ({} if std is None else {"mos_overall_std": std}) | {"mos_overall_votes": votes}
        path = str(root / "NISQA_Corpus" / f"NISQA_{part}" / "deg" / name)
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


def test_manifests(root):
    build(root)
    reports = check_manifests("nisqa", root, expect(root))
    assert reports["train"]["notes"] == {"names that begin with book, but not with their reference": 1}


def test_missing_column(root, capsys):
    build(root)
    check_missing_column("nisqa", root, capsys, "NISQA_Corpus/NISQA_VAL_LIVE/NISQA_VAL_LIVE_file.csv", "filename_ref")


def test_bad_recordings(root, capsys):
    build(root)
    check_bad_recordings("nisqa", root, capsys)


def test_two_recordings_with_one_id(root, capsys):
    build(root)
    folder = root / "NISQA_Corpus" / "NISQA_TEST_FOR"
    rows = (f"a,1,x,{n}_s.wav,s.wav,3,,5,,,,,,,," for n in "ab")
    write_table(folder / "NISQA_TEST_FOR_file.csv", NISQA_HEADER, *rows)
    for n in "ab":
        write_recording(folder / "deg" / f"{n}_s.wav")
    check_taken_id("nisqa", root, capsys)
