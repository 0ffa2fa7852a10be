"""A speech quality model as users hold it: recordings in, rows out.

XLA computes in threads, which a fork does not have. Several processes are therefore spawned,
`multiprocessing.get_context("spawn")`, and each loads its model.
"""

import copy
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, check_rate
from urgentmos_jax.files import hash_in_background
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.schema import as_json
from urgentmos_jax.scoring import pairs as assessing
from urgentmos_jax.scoring.engine import Engine, Precision, refuse_fork
from urgentmos_jax.scoring.pairs import unique_recordings
from urgentmos_jax.scoring.rows import Calibrations, Compared, ComparisonRow, Order, Scored, ScoreRow
from urgentmos_jax.scoring.stored import keep_compiled_programs, push_stored, read_stored
from urgentmos_jax.scoring.times import Times
from urgentmos_jax.statistics.training_distribution import TrainingDistribution
from urgentmos_jax.weights.model_folder import WEIGHTS_FILE, save_folder

MAX_FEATURE_BYTES = 1 << 30


class Model:
    """A speech quality model on the local devices.

    Args:
        module: Model with its weights.
        origin: Where the weights come from.
        name: Folder or hub id that it was asked for by, or None.
        folder: Folder it was loaded from, or None.
        precision: "float32", or "bfloat16" for the encoders.
        batch_seconds: Audio a batch and device, padding included; None suits the device.
        window_seconds: Longer clips are cut into windows of this length, whose results are averaged by length; None:
            60 s, or less where an encoder takes less (Whisper: 30 s).
        devices: Devices that share the rows of a batch; None = all local ones.
        calibrations: {metric: how its scores and comparisons are calibrated}, see `urgentmos calibrate`.
        distribution: What the training clips look like, of which rows then say whether a recording is unlike them.

    Attributes:
        config: Architecture.
        engine: The compiled programs.
        params: Parameters, an `nnx.State` on the devices.
    """

    def __init__(
        self,
        module: UrgentMOS,
        *,
        origin: dict[str, Any] | None = None,
        name: str | None = None,
        folder: Path | None = None,
        precision: Precision = "float32",
        batch_seconds: float | None = None,
        window_seconds: float | None = None,
        devices: Sequence[jax.Device] | None = None,
        calibrations: Calibrations | None = None,
        distribution: TrainingDistribution | None = None,
    ):
        self.engine = Engine(
            module, precision=precision, batch_seconds=batch_seconds, window_seconds=window_seconds, devices=devices
        )
        self.config = module.config
        self.origin = origin or {}
        self.name = name
        self.folder = folder
        self.calibrations: Calibrations = calibrations or {}
        self.distribution = distribution
        self.params = self.engine.place(nnx.state(module))
        # Until parameters or calibrations are others than those of the folder.
        self._is_as_stored = True
        self._hashing = None if folder is None else hash_in_background(folder / WEIGHTS_FILE)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        precision: Precision = "float32",
        batch_seconds: float | None = None,
        compile_cache: bool = True,
    ) -> Self:
        """Loads a model.

        Args:
            source: "urgentmos-small", the model in the package; a model folder (of `urgentmos convert` or training); or
                a hub id of one or of the authors' checkpoints, downloaded and converted once into the user's cache.
            revision: Of the hub repository.
            precision: float32 at highest matmul precision, or the encoders in bfloat16.
            batch_seconds: Audio a batch, padding included; None suits the device.
            compile_cache: Keep compiled programs in the user's cache folder, unless jax has such a folder already.

        Raises:
            ModelNotFound: no such folder, and no hub repository that can be reached.
            HubFileChanged: a file of the repository is not the one that was downloaded first under that revision.
            RuntimeError: This process was forked off one that has loaded a model; spawn it.
            ModelFolderError, DamagedFile, WeightsError, UnsafeCheckpoint: the files are not whole or do not fit.
        """
        refuse_fork()
        if compile_cache:
            keep_compiled_programs()
        stored = read_stored(source, revision)
        return cls(
            stored.module,
            origin=stored.origin,
            name=stored.name,
            folder=stored.folder,
            precision=precision,
            batch_seconds=batch_seconds,
            calibrations=stored.calibrations,
            distribution=stored.distribution,
        )

    def save(self, folder: str | Path) -> None:
        """Writes a model folder, weights in float32; ValueError where the encoders are held in bfloat16."""
        if self.engine.precision != "float32":
            raise ValueError("the encoders are in bfloat16; load the model in float32 to save or push it")
        module = nnx.merge(self.engine.graph, self.params)
        arrays = None if self.distribution is None else vars(self.distribution)
        save_folder(folder, module, self.origin, as_json(self.calibrations), arrays)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Pushes config.json, model.safetensors and a model card to the hub, in one commit.

        Args:
            repo_id: `owner/name`; the repository is made where it is not there.
            card: Its README.md; None = that in the model's folder, if the model is still the one there, else one made
                from config.json. `urgentmos card` makes one with an evaluation.
            revision: Branch; None = main.
            private: Whether a repository that is made is private; None = as the hub has it.
            token: Of the hub; None = that of `hf auth login`.

        Returns:
            Address of the commit.

        Raises:
            ValueError: `repo_id` is no id; or there is no folder, and the encoders are held in bfloat16.
            PushFailed: the hub cannot be reached, or does not let this token write.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.folder
            if folder is None or not self._is_as_stored:
                folder = Path(scratch, "model")
                self.save(folder)
            return push_stored(folder, repo_id, card=card, revision=revision, private=private, token=token)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of a score, in order."""
        return tuple(self.config.metrics)

    @property
    def comparative_metrics(self) -> tuple[str, ...]:
        """Metrics of a comparison, in order."""
        return self.config.comparative_metrics

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate the model works at."""
        return SAMPLE_RATE_HZ

    @property
    def frame_rate_hz(self) -> float:
        """Frame scores a second: those of the fastest encoder."""
        return self.engine.frame_rate_hz

    @property
    def min_samples(self) -> int:
        """Samples of the shortest recording that is scored, at 16 kHz."""
        return self.engine.min_samples

    @property
    def times(self) -> Times:
        """Where the time of scoring went, since the model was loaded."""
        return self.engine.times

    @property
    def compiled_shapes(self) -> frozenset[tuple[int, int]]:
        """(rows, samples) of every batch that was compiled."""
        return self.engine.compiled_shapes

    def with_params(self, params: Any) -> "Model":
        """This model with other parameters of its architecture, without `distribution`; what is compiled serves both.

        Args:
            params: An `nnx.State` of `UrgentMOS`.
        """
        model = copy.copy(self)
        model.params, model._is_as_stored, model._hashing = self.engine.place(params), False, None
        model.distribution = None
        return model

    def with_calibrations(self, calibrations: Calibrations) -> "Model":
        """This model with other calibrations, or with none."""
        model = copy.copy(self)
        model.calibrations, model._is_as_stored = calibrations, False
        return model

    def with_distribution(self, distribution: TrainingDistribution | None) -> "Model":
        """This model with what its training clips look like, see `scoring.unlike.fit_distribution`; or without."""
        model = copy.copy(self)
        model.distribution, model._is_as_stored = distribution, False
        return model

    def apply(self, waveform: jax.Array, lengths: jax.Array, *, params: Any = None) -> dict[str, jax.Array]:
        """Scores of a batch as a pure function, for use inside jit and grad.

        Args:
            waveform: [B, T] float32, 16 kHz.
            lengths: [B] int32, samples.
            params: Parameters in place of the model's own (`model.params`); as an argument of the jitted function
                they are not compiled into it.

        Returns:
            {metric: [B]} float32.
        """
        scores = self.engine.absolute(self.params if params is None else params, waveform, lengths)
        return {
            name: self.calibrations[name].score(score, jnp) if name in self.calibrations else score
            for name, (score,) in scores.items()
        }

    def score(
        self,
        inputs: Iterable[Any],
        *,
        sample_rate: float | None = None,
        frames: bool = False,
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> list[ScoreRow]:
        """Scores recordings.

        Args:
            inputs: Paths, open binary files, or arrays [T] or [T, channels] with `sample_rate`; see `load_audio`.
            sample_rate: Of the arrays, in Hz.
            frames: Add the score and weight of each frame.
            metrics: Some of the model's metrics; None = all.
            uids: Name of each input; None = its path or name, else `array-<index>` or `file-<index>`.

        Returns:
            One row for each input, in order. A recording that cannot be scored has `scores` None and `error`.
        """
        return list(self.iter_scores(inputs, sample_rate=sample_rate, frames=frames, metrics=metrics, uids=uids))

    def iter_scores(
        self,
        inputs: Iterable[Any],
        *,
        sample_rate: float | None = None,
        frames: bool = False,
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> Generator[ScoreRow, None, None]:
        """Rows of `score`, in order, as soon as each group of recordings is done."""
        for result in self.assess(inputs, sample_rate=sample_rate, frames=frames, metrics=metrics, uids=uids):
            if isinstance(result, Scored):
                yield result.row

    def compare(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        sample_rate: float | None = None,
        order: Order = "both",
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> list[ComparisonRow]:
        """Compares recordings: how much better the first of each pair is than the second.

        Args:
            pairs: (A, B), each as an input of `score`.
            sample_rate: Of the arrays, in Hz.
            order: "both": (f(A, B) - f(B, A)) / 2, antisymmetric; "ab": f(A, B) alone, the authors' number, with
                `logits` in the order A better, B better, tie.
            metrics: Some of the model's comparative metrics; None = all.
            uids: Name of each pair; None = the names of A and B with a space between.

        Returns:
            One row for each pair, in order. A pair that cannot be compared has `comparison` None and `error`.
        """
        return list(self.iter_comparisons(pairs, sample_rate=sample_rate, order=order, metrics=metrics, uids=uids))

    def iter_comparisons(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        sample_rate: float | None = None,
        order: Order = "both",
        metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
    ) -> Generator[ComparisonRow, None, None]:
        """Rows of `compare`, in order. Each recording is encoded once and kept until its last pair."""
        recordings, sides = unique_recordings(pairs)
        results = self.assess(
            recordings,
            sides,
            sample_rate=sample_rate,
            order=order,
            comparative_metrics=metrics,
            pair_uids=uids if uids is None or isinstance(uids, str) else list(uids),
        )
        for result in results:
            if isinstance(result, Compared):
                yield result.row

    def assess(
        self,
        recordings: Iterable[Any],
        pairs: Sequence[tuple[int, int]] | np.ndarray = (),
        *,
        sample_rate: float | None = None,
        frames: bool = False,
        order: Order = "both",
        metrics: Sequence[str] | None = None,
        comparative_metrics: Sequence[str] | None = None,
        uids: Iterable[str] | None = None,
        pair_uids: Sequence[str] | None = None,
        max_feature_bytes: int = MAX_FEATURE_BYTES,
        spill_dir: Path | None = None,
    ) -> Iterator[Scored | Compared]:
        """Scores recordings and compares pairs of them; each recording is encoded once.

        Args:
            recordings: As the inputs of `score`; without pairs they are read as they come.
            pairs: [P, 2] indices of A and B into the recordings.
            sample_rate: Of the arrays, in Hz.
            frames: Add the score and weight of each frame.
            order: Of comparisons, see `compare`.
            metrics: Some of the model's metrics; None = all.
            comparative_metrics: Some of the model's comparative metrics; None = all.
            uids: Name of each recording; None = its path or name, else `array-<index>` or `file-<index>`.
            pair_uids: Name of each pair; None = the names of A and B with a space between.
            max_feature_bytes: Of features that wait in memory for their last pair; the others wait on disk.
            spill_dir: Folder for those on disk; None = a temporary one.

        Yields:
            `Scored` for each recording, in order where there are no pairs, else in that of the pairs; `Compared` for
            each pair, in order, as soon as both of its recordings are encoded.

        Raises:
            ValueError: A metric is not among those of the model; or there are pairs, and the model compares nothing.
            IndexError: A pair names a recording that is not there.
            TypeError: One recording, name or metric is given where a list of them is expected; the sample rate is not a
                number.
            RuntimeError: This process was forked off one that has loaded a model; spawn it.
        """
        refuse_fork()
        check_rate(sample_rate, "sample_rate")
        assessing.check_lists(recordings, pairs, uids, pair_uids, order)
        if len(pairs) and not self.comparative_metrics:
            raise ValueError("this model has no comparative metric; compare scores instead")
        return assessing.assess(
            self.engine,
            self.params,
            recordings,
            pairs,
            sample_rate=sample_rate,
            frames=frames,
            order=order,
            metrics=assessing.chosen_metrics(metrics, self.metrics),
            comparative_metrics=assessing.chosen_metrics(comparative_metrics, self.comparative_metrics),
            calibrations=self.calibrations,
            uids=uids,
            pair_uids=pair_uids,
            max_feature_bytes=max_feature_bytes,
            spill_dir=spill_dir,
            signature=self.signature,
            distribution=self.distribution,
        )

    @property
    def _weights_hash(self) -> str | None:
        return None if self._hashing is None else self._hashing.result()

    @property
    def signature(self) -> str | None:
        """Name and the first twelve digits of the weights' SHA-256, as rows have them; None without a folder."""
        return self._weights_hash and f"{self.name or self.folder} {self._weights_hash[:12]}"

    def padding_efficiency(self, lengths: Sequence[int]) -> float:
        """Part of the computed samples that is audio, for clips of these lengths (samples, at most a window)."""
        return self.engine.padding_efficiency(lengths)

    @property
    def calibration_note(self) -> str:
        """By how many pairs which metrics are calibrated; empty where none is."""
        return ", ".join(f"{name} by {one.pairs:,} pairs" for name, one in self.calibrations.items())

    def describe(self) -> dict[str, Any]:
        """What was computed with what: model id and hash, origin, precision, window rule."""
        return {
            "model": self.name,
            "model_sha256": self._weights_hash,
            "origin": self.origin,
            "calibration": as_json(self.calibrations) or None,
            **({} if self.distribution is None else {"training_distribution": self.distribution.digest}),
            "precision": self.engine.precision,
            "window_rule": f"clips over {self.engine.window_samples / SAMPLE_RATE_HZ:g} s are cut into windows of that "
            "length, results averaged by length",
        }
