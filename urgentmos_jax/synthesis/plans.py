"""What a generated corpus is made of: systems, and plans of the default splits."""

from dataclasses import dataclass, field

from urgentmos_jax.labels import intrusive
from urgentmos_jax.synthesis.degradations import DEGRADATIONS
from urgentmos_jax.synthesis.sentences import SENTENCES, Sentence

LABELS = ("estoi", "si_sdr", "lsd", "pesq")
_CODES = ("en-us", "en-gb", "de", "fr", "es", "it")


@dataclass(frozen=True)
class System:
    """A degradation of `DEGRADATIONS` at one strength, in its unit; by default the system "clean", without one."""

    degradation: str = "clean"
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.degradation != "clean" and self.degradation not in DEGRADATIONS:
            raise ValueError(f"no degradation {self.degradation!r}; must be one of clean, {', '.join(DEGRADATIONS)}")

    @property
    def id(self) -> str:
        """Its name in corpora, such as `white_noise-10db`."""
        return "clean" if self.degradation == "clean" else DEGRADATIONS[self.degradation].system_id(self.strength)

    @property
    def kind(self) -> str:
        """The degradation's kind, or "clean"."""
        return "clean" if self.degradation == "clean" else DEGRADATIONS[self.degradation].kind


def all_systems() -> tuple[System, ...]:
    """Returns the clean system and every degradation at each of its strengths."""
    return (System(), *(System(name, float(s)) for name, item in DEGRADATIONS.items() for s in item.strengths))


@dataclass(frozen=True)
class Plan:
    """What a corpus is made of.

    Attributes:
        voices: eSpeak voices; each speaks the sentences of its language (`en-us+f2` those of `en`). Not used with
            clean recordings.
        sentences: What they say. Not used with clean recordings.
        references: Number of clean clips: pairs of voice and sentence, or recordings, sampled without replacement.
        systems: Systems, spread evenly over the references.
        systems_per_reference: Number of systems that degrade each clean clip: so many clips share a reference.
        labels: Metrics of `urgentmos_jax.labels.intrusive`; those whose package is not installed are left out.
        withheld: Fraction of the labels left out on purpose, 0 to 1.
        seed: Of all random choices.
    """

    voices: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    references: int = 100
    systems: tuple[System, ...] = field(default_factory=all_systems)
    systems_per_reference: int = 5
    labels: tuple[str, ...] = LABELS
    withheld: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(set(self.systems))
        if not 1 <= self.systems_per_reference <= count:
            text = f"systems_per_reference={self.systems_per_reference}"
            raise ValueError(f"{text}: must be from 1 to the number of systems, {count}")
        if count < len(self.systems):
            raise ValueError("systems lists a system twice")
        if self.references < 1:
            raise ValueError(f"references={self.references}: must be 1 or more")
        if not 0 <= self.withheld <= 1:
            raise ValueError(f"withheld={self.withheld}: must be from 0 to 1")
        if unknown := set(self.labels) - set(intrusive.METRICS):
            raise ValueError(f"no metric {', '.join(sorted(unknown))}; must be among {', '.join(intrusive.METRICS)}")


def default_splits(seed: int = 0) -> dict[str, Plan]:
    """Returns plans for `train`, `dev` and `test` that share no voice and no sentence: 500, 60 and 150 clips."""
    variants = {
        "train": ("f1 f3 m1 m3 m8", "f5 m2 m7", "f1 m3", "f3 m1", "f1 m7", "f3 m2"),
        "dev": ("f4", "m6", "m6", "f4", "m6", "f4"),
        "test": ("f2 m4", "m5", "f2 m4", "f2 m5", "m4 f2", "m5 f2"),
    }
    parts: dict[str, list[Sentence]] = {"train": [], "dev": [], "test": []}
    for language, texts in SENTENCES.items():
        test, dev = max(2, len(texts) // 4), max(1, len(texts) // 8)
        for number, text in enumerate(texts):
            part = "test" if number < test else "dev" if number < test + dev else "train"
            parts[part].append(Sentence(language, text))
    references = {"train": 100, "dev": 12, "test": 30}
    return {
        name: Plan(
            voices=tuple(f"{code}+{one}" for code, names in zip(_CODES, every, strict=True) for one in names.split()),
            sentences=tuple(parts[name]),
            references=references[name],
            withheld=0.2 if name == "train" else 0.0,
            seed=seed + number,
        )
        for number, (name, every) in enumerate(variants.items())
    }
