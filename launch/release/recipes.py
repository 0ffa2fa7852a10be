"""What happens to a clip: one degradation, several in the order of a recording's life, or none."""

from dataclasses import dataclass

import numpy as np

from urgentmos_jax.synthesis.catalogue import ALL_DEGRADATIONS, Degradation

__all__ = ["HELD_OUT", "Step", "draw", "family"]

# Degradations that are never trained on, and the families they make.
HELD_OUT = {
    "mnru": "mnru", "speex_wideband": "speex", "speex_narrowband": "speex",
    "spectral_subtraction": "spectral_subtraction",
}  # fmt: skip
# Of the clips, and of single degradations by kind.
_CLEAN, _SINGLE = 0.07, 0.6
_SHARES = {
    "noise": 5, "babble": 3, "reverberation": 4, "codec": 6, "packet_loss": 3, "clipping": 2, "band": 3, "level": 2,
    "enhancement": 4, "vocoder": 3,
}  # fmt: skip
# Several at once come in this order.
_ORDER = ("reverberation", "noise", "babble", "level", "clipping", "band", "enhancement", "codec", "packet_loss")
_CHAIN = {"reverberation": 0.45, "noise": 0.45, "babble": 0.25, "level": 0.15, "clipping": 0.15, "band": 0.2,
          "enhancement": 0.2, "codec": 0.4, "packet_loss": 0.2}  # fmt: skip
_LISTED = ("kbps", "q", "bits", "bands", "order", "dims")  # Units of strengths that are taken as they are.


@dataclass(frozen=True)
class Step:
    """A degradation of `ALL_DEGRADATIONS` at a strength."""

    name: str
    strength: float


def draw(rng: np.random.Generator, *, held_out: bool) -> tuple[Step, ...]:
    """Draws what happens to a clip.

    Args:
        rng: Of the clip.
        held_out: Whether to draw of `HELD_OUT` alone (each alone, or noise before enhancement), or of the others.
    """
    if held_out:
        name = str(rng.choice(list(HELD_OUT)))
        before = _noisy(rng) if ALL_DEGRADATIONS[name].kind == "enhancement" else ()
        return (*before, _step(ALL_DEGRADATIONS[name], rng))
    choice = rng.random()
    if choice < _CLEAN:
        return ()
    if choice < _CLEAN + _SINGLE:
        kinds = [kind for kind in _SHARES if _of(kind)]
        shares = np.array([_SHARES[kind] for kind in kinds], float)
        kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
        before = _noisy(rng) if kind == "enhancement" else ()
        return (*before, _one(kind, rng))
    steps: list[Step] = []
    while not 2 <= len(steps) <= 4:
        kinds = [kind for kind in _ORDER if rng.random() < _CHAIN[kind]]
        if "noise" not in kinds and "babble" not in kinds:
            kinds = [kind for kind in kinds if kind != "enhancement"]
        # In a chain each is milder than alone: all at their worst leave no speech.
        steps = [_one(kind, rng, worst=0.7) for kind in kinds]
    return tuple(steps)


def family(steps: tuple[Step, ...]) -> str:
    """What a clip is counted under: a held-out degradation, a kind, "several" or "clean"."""
    if not steps:
        return "clean"
    last = ALL_DEGRADATIONS[steps[-1].name]
    if last.name in HELD_OUT:
        return HELD_OUT[last.name]
    if len(steps) == 1 or (last.kind == "enhancement" and len(steps) == 2):
        return last.kind
    return "several"


def _of(kind: str) -> list[Degradation]:
    return [one for one in ALL_DEGRADATIONS.values() if one.kind == kind and one.name not in HELD_OUT]


def _one(kind: str, rng: np.random.Generator, worst: float = 1.0) -> Step:
    choices = _of(kind)
    return _step(choices[rng.integers(len(choices))], rng, worst)


def _noisy(rng: np.random.Generator) -> tuple[Step, ...]:
    """What enhancement is given."""
    return (_one("noise" if rng.random() < 0.7 else "babble", rng, worst=0.8),)


def _step(one: Degradation, rng: np.random.Generator, worst: float = 1.0) -> Step:
    """A strength from the weakest to `worst` of the way to the strongest."""
    place = worst * rng.random() * (len(one.strengths) - 1)
    if one.unit in _LISTED:
        return Step(one.name, float(one.strengths[round(place)]))
    return Step(one.name, round(float(np.interp(place, np.arange(len(one.strengths)), one.strengths)), 2))
