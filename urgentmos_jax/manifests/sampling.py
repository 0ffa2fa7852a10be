"""Random choices that depend on ids alone: the same in every process, whatever else there is and in what order."""

import hashlib
from collections.abc import Sequence

import numpy as np


def stable_hash(text: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def stable_uniform(keys: Sequence[int] | np.ndarray, *salt: str | int) -> np.ndarray:
    """A number in [0, 1) for each key [N] uint64, a function of key and salt: SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = np.asarray(keys, np.uint64) ^ np.uint64(stable_hash(repr(salt)))
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
