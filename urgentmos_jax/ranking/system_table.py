"""Scores by reference and system, and wins by reference and pair of systems: what statistics are computed from."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.statistics.bootstrap import cluster_numbers
from urgentmos_jax.statistics.bradley_terry import bradley_terry

# A table [references, pairs of systems] of no more elements than this is held whole: products with it are faster.
_WHOLE = 2**24


class SystemTable:
    """Systems, their recordings and their meetings.

    Several recordings of a system with one reference are one meeting with another system. A recording without a
    reference meets nobody, and is its own reference in resamples.

    Args:
        recordings: N, each with `system_id`.
        scores: [N], NaN where there is none.
        pairs: [P, 2] numbers of recordings that share a reference, of different systems.
        shares: [P] share of a win of the first; NaN where it is not known.

    Attributes:
        names: [S] of the systems, sorted.
        clips: [S] recordings with a score.
        scored_references: [S] references that the mean of a system rests on.
        compared_references: [S] references that its wins rest on.
        wins: [S, S] share of meetings that the system of the row won; NaN without one.
        shared: [S, S] meetings.
        joined: Numbers of the systems whose strengths are defined: the most that comparisons join.
        comparisons: How many pairs count.
        references: Number of references.
    """

    def __init__(self, recordings: Sequence[Utterance], scores: np.ndarray, pairs: np.ndarray, shares: np.ndarray):
        systems = [str(recording.system_id) for recording in recordings]
        self.names = sorted(set(systems))
        count, numbers = len(self.names), {name: number for number, name in enumerate(self.names)}
        system = np.array([numbers[name] for name in systems], np.int64)
        cluster = cluster_numbers([recording.reference_id for recording in recordings])
        self.references = int(cluster.max()) + 1
        self._recordings, self._scored = recordings, np.isfinite(scores)

        cells = cluster[self._scored], system[self._scored]
        sums = csr_array((scores[self._scored], cells), shape=(self.references, count))
        clips = csr_array((np.ones(len(cells[0])), cells), shape=(self.references, count))
        self.clips = clips.sum(0).astype(int)
        self.scored_references = (clips > 0).sum(0).astype(int)
        self._sums, self._clips = _held(sums), _held(clips)

        # Of two systems the one that comes first by name stands in the row.
        self._upper = np.triu_indices(count, 1)
        number_of = np.zeros((count, count), np.int64)
        number_of[self._upper] = np.arange(len(self._upper[0]))
        pairs, shares = pairs[np.isfinite(shares)], shares[np.isfinite(shares)]
        self.comparisons = len(pairs)
        first, second = system[pairs[:, 0]], system[pairs[:, 1]]
        cells = cluster[pairs[:, 0]], number_of[np.minimum(first, second), np.maximum(first, second)]
        shape = (self.references, len(self._upper[0]))
        won = csr_array((np.where(first < second, shares, 1 - shares), cells), shape=shape)
        met = csr_array((np.ones(len(shares)), cells), shape=shape)
        won.data /= met.data
        met.data[:] = 1
        self._won, self._met = _held(won), _held(met)

        members = np.tile(np.arange(shape[1]), 2), np.concatenate(self._upper)
        takes_part = csr_array((np.ones(2 * shape[1]), members), shape=(shape[1], count))
        self.compared_references = ((met @ takes_part) > 0).sum(0).astype(int)
        table, meetings = self._tables(np.ones((1, self.references)))
        self.shared = meetings[0].astype(int)
        with np.errstate(invalid="ignore"):
            self.wins = np.where(meetings[0] > 0, table[0] / meetings[0], np.nan)
        _, part = connected_components(self.shared > 0, directed=False)
        parts = [np.flatnonzero(part == number) for number in range(part.max() + 1)]
        self.joined = max(parts, key=lambda members: (len(members), self.clips[members].sum()))

    def statistics(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """`mean`, `strength` and `win_rate` of each system, [R, S] each, NaN where not defined.

        Args:
            counts: [R, references] how often each reference counts.
        """
        clips = counts @ self._clips
        won, met = self._tables(counts)
        opponents = (met > 0).sum(-1)
        with np.errstate(invalid="ignore"):
            means = np.where(clips > 0, counts @ self._sums / clips, np.nan)
            rates = np.where(opponents > 0, np.where(met > 0, won / met, 0).sum(-1) / opponents, np.nan)
        strengths = np.full(means.shape, np.nan)
        if len(self.joined) > 1:
            among = np.ix_(self.joined, self.joined)
            strengths[:, self.joined] = bradley_terry(won[:, among[0], among[1]], self.shared[among] > 0)
        return {"mean": means, "strength": strengths, "win_rate": rates}

    def missing(self) -> tuple[tuple[str, str], ...]:
        """(system, reference) that another system has, or that has no score; a uid where the reference is not known."""
        known = dict.fromkeys(r.reference_id for r in self._recordings if r.reference_id is not None)
        there: set[tuple[str, str | None]] = set()
        lost: list[tuple[str, str]] = []
        for recording, scored in zip(self._recordings, self._scored, strict=True):
            if scored:
                there.add((str(recording.system_id), recording.reference_id))
            elif recording.reference_id is None:
                lost.append((str(recording.system_id), recording.uid))
        lost += [(name, reference) for name in self.names for reference in known if (name, reference) not in there]
        return tuple(sorted(lost))

    def _tables(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wins of the system of the row, and meetings, [R, S, S] each."""
        upper, both = counts @ self._won, counts @ self._met
        won, met = (np.zeros((len(counts), len(self.names), len(self.names))) for _ in range(2))
        rows, columns = self._upper
        won[:, rows, columns], won[:, columns, rows] = upper, both - upper
        met[:, rows, columns] = met[:, columns, rows] = both
        return won, met


def _held(table: csr_array) -> csr_array | np.ndarray:
    return table.toarray() if np.prod(table.shape, dtype=float) <= _WHOLE else table
