"""What the model in the package says of three recordings, before anything is trained."""

from pathlib import Path

from urgentmos_jax.scoring.loading import load_model

__all__ = ["CLIPS", "score_three_clips"]

# CC0, of dataset-voice-kerstin: two sentences as they were recorded, and the first in a room with noise.
CLIPS = tuple(Path(__file__).with_name("clips") / f"{name}.flac" for name in ("clean_1", "noisy_1", "clean_2"))
_SHOWN = ("distill_mos", "dnsmos_ovrl", "pesq", "estoi")


def score_three_clips() -> None:
    """Scores them, and compares the first two."""
    model = load_model("urgentmos-small")
    rows = model.score(CLIPS)
    print("\nThree short recordings, by urgentmos-small, the model in the package:")
    for path, row in zip(CLIPS, rows, strict=True):
        scores = (f"{name} {row['scores'][name]:.2f}" for name in _SHOWN)
        print(f"  {path.stem}: {', '.join(scores)}")
    (row,) = model.compare([CLIPS[:2]])
    ((name, found),) = row["comparison"].items()
    first, second = CLIPS[:2] if found["cmos"] > 0 else reversed(CLIPS[:2])
    print(f"It finds {first.stem} better than {second.stem}, by {abs(found['cmos']):.2f} of {name}.", flush=True)
