"""Partners for comparisons in training: who may be compared with whom, and a draw that can be repeated."""

from typing import Literal

import numpy as np

from urgentmos_jax.manifests.sampling import stable_uniform

PairingScope = Literal["reference", "corpus", "any", "none"]


class Partners:
    """Partners that clips may meet.

    A partner is another clip of the same group that is no longer than the clip itself; among those each is equally
    likely. The draw depends on (seed, epoch, uid) alone, not on the order of the manifests.

    Args:
        scope: "reference": same reference in the same corpus; "corpus": same corpus; "any": all; "none": nobody.
        lengths: [N] samples.
        corpora: [N] number of the corpus.
        references: [N] number of the reference, unique over all corpora, -1 where there is none.
        keys: [N] uint64, `sampling.stable_hash` of each uid.
        eligible: [N], False for clips without a comparative label.
    """

    def __init__(
        self,
        scope: PairingScope,
        lengths: np.ndarray,
        corpora: np.ndarray,
        references: np.ndarray,
        keys: np.ndarray,
        eligible: np.ndarray,
    ):
        self._keys = keys
        alike = {"any": np.zeros(len(keys), np.int64), "none": np.full(len(keys), -1)}
        groups = (alike | {"reference": references, "corpus": corpora})[scope]
        members = np.flatnonzero(eligible & (groups >= 0))
        # By group, then by length: whoever a clip may meet stands in one block from the start of its group.
        self._order = members[np.lexsort((keys[members], lengths[members], groups[members]))]
        group, length = groups[self._order], lengths[self._order]
        first = np.searchsorted(group, group, side="left")
        last_alike = np.zeros(len(group), np.int64)
        for start in np.unique(first):
            stop = start + np.searchsorted(group[start:], group[start], side="right")
            last_alike[start:stop] = start + np.searchsorted(length[start:stop], length[start:stop], side="right")
        self._first, self._choices = first, last_alike - first - 1

    def draw(self, seed: int, epoch: int) -> np.ndarray:
        """[N] index of each clip's partner, -1 where it has none."""
        partners = np.full(len(self._keys), -1)
        place = np.arange(len(self._order))
        random = stable_uniform(self._keys[self._order], "partner", seed, epoch)
        chosen = self._first + (random * self._choices).astype(np.int64)
        chosen += chosen >= place  # The clip itself is passed over.
        able = self._choices > 0
        partners[self._order[able]] = self._order[chosen[able]]
        return partners
