"""Speed of a training step, measured on batches as training makes them: TrainingSet -> Plan -> load -> TrainStep.

Letters in shapes: N clips, K metrics, R rows, S sides.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from configs.f1c1m5_d_corpus import get_config
from launch.clips import generated
from launch.measuring import MATMUL_FLOPS, compiling, in_rounds, matmul_turn, peak_memory_mb, timed
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.loader import LoadedBatches
from urgentmos_jax.data.partners import PairingScope
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.training_set import TrainingSet
from urgentmos_jax.metrics import Metric
from urgentmos_jax.model.flops import clip_flops
from urgentmos_jax.model.urgentmos import ModelConfig, UrgentMOS
from urgentmos_jax.scoring.model import least_samples
from urgentmos_jax.training import checkpoints
from urgentmos_jax.training.checkpoints import Checkpoints
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.feature_cache import state_shapes
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.step import TrainStep, make_optimizer, split_module

RECIPE = read_config(get_config())
# Of the run that the steps are taken from: so long that the learning rate hardly falls.
UPDATES = 1_000_000
# On a CPU, where the published batch would take gigabytes and minutes.
CPU_BATCH_SECONDS = 24.0
LOSSES_AGREE = 1e-4
GRADIENTS_AGREE = 1e-3
# Part of the labels that a corpus lacks here.
MISSING = 0.2
PLANNED_CLIPS, CLIPS_A_REFERENCE = 4000, 8

Batch = dict[str, np.ndarray]


def measure(
    module: UrgentMOS,
    paths: Sequence[Path],
    seconds: Sequence[float],
    *,
    batch_seconds: float | None,
    rounds: int,
    against: tuple[Path, Path] | None,
) -> dict[str, Any]:
    """Figures of training steps on recordings with random labels, on one device.

    A turn is an epoch: every clip once as A, with a partner as B wherever both have the comparative label. Batches are
    loaded before. Audio seconds leave out padding and count both sides of a pair. Of the compile seconds of a shape the
    median is given: the first one compiles the optimizer's update too.

    Args:
        module: Model; the optimizer, the loss and the most rows of a batch are those of the published recipe.
        paths, seconds: Recordings and their lengths.
        batch_seconds: Audio a batch, the longer side of a pair counted; None suits the device.
        rounds: Rounds, each with one turn for everyone.
        against: Checkpoint and encoder folder with the same weights: measures the torch assembly too.

    Raises:
        SystemExit: a recording cannot be loaded, or the losses or gradients of the two differ.
    """
    if batch_seconds is None:
        batch_seconds = CPU_BATCH_SECONDS if jax.default_backend() == "cpu" else RECIPE.batch.seconds
    shortest = least_samples(module.config)
    data = random_set([str(path) for path in paths], np.asarray(seconds), module.config.metrics)
    plan = make_plan(data, "corpus", batch_seconds, shortest)
    count = len(plan.epoch(0))
    loading, loaded = timed(lambda: list(LoadedBatches(plan, 0, count, workers=0)))
    if skipped := [one["message"] for batch in loaded for one in batch["skipped"]]:
        raise SystemExit("recordings cannot be loaded: " + "; ".join(skipped))
    batches = [batch["arrays"] for batch in loaded]
    audio = sum(int(batch["lengths"].sum()) for batch in batches) / SAMPLE_RATE_HZ
    figures = {
        "clips": len(data.uids),
        "batch_seconds": batch_seconds,
        "steps": count,
        "audio_seconds": audio,
        "loading_audio_seconds_a_second": audio / loading,
        **plan_figures(plan),
        **realistic_plans(module.config.metrics, shortest),
    }

    ours = Ours(module)
    compiled = []
    for batch in batches:
        with compiling() as spent:
            ours.epoch([batch])
        compiled += [sum(spent)] if spent else []
    figures |= {
        "compile_seconds": sum(compiled),
        "compile_seconds_a_shape": statistics.median(compiled),
        "peak_memory_mb": peak_memory_mb(),
    }
    turns = {"ours": lambda: ours.epoch(batches)}
    if against:
        theirs = Theirs(*against)
        figures |= agreement(module, theirs, next((b for b in batches if b["lengths"].shape[1] == 2), batches[0]))
        prepared = [theirs.prepare(batch) for batch in batches]
        turns["torch"] = lambda: theirs.epoch(prepared)
    turns["matmul"] = matmul_turn()
    times = [taken for taken, _ in in_rounds(turns, rounds)]

    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    rate = MATMUL_FLOPS / median["matmul"]
    figures |= {
        "ours_audio_seconds_a_second": audio / median["ours"],
        "ours_seconds_a_step": median["ours"] / count,
        "matmul_gflops": rate / 1e9,
        "useful_share_of_matmul_rate": training_flops(module.config, batches) / median["ours"] / rate,
    }
    if against:
        figures["torch_audio_seconds_a_second"] = audio / median["torch"]
        figures["ours_over_torch"] = statistics.median(taken["torch"] / taken["ours"] for taken in times)
    return figures


def measure_step(module: UrgentMOS, folder: Path, *, rounds: int, against: tuple[Path, Path] | None) -> dict[str, Any]:
    """Figures of one update with 8 clips of 4 s in 4 pairs, on one device, and of a checkpoint of its state.

    Args:
        module: Model with a frozen encoder.
        folder: For the checkpoint, which is written once a round.
        rounds: Rounds, each with one turn for everyone.
        against: Checkpoint and encoder folder with the same weights: measures the torch assembly too.

    Raises:
        SystemExit: the losses or gradients of the two differ.
    """
    batch = pairs_of_clips(module.config.metrics, rows=4, seconds=4.0)
    clips, lengths = batch["waveform"].reshape(8, -1), batch["lengths"].reshape(8)
    states = jax.jit(lambda module, *x: module.frozen_states(*x))(module, clips, lengths)
    shapes = zip(state_shapes(module.config), states, strict=True)
    stored = {f"states.{one.encoder}": np.asarray(x, np.float16).reshape(4, 2, *x.shape[1:]) for one, x in shapes}
    fed = {name: x for name, x in batch.items() if name != "waveform"} | stored

    ours, reading = Ours(module), Ours(module)
    turns = {"ours": lambda: ours.epoch([batch]), "ours_stored": lambda: reading.epoch([fed])}
    compiled, _ = timed(turns["ours"])
    turns["ours_stored"]()
    figures: dict[str, Any] = {"clips": 8, "audio_seconds": 32.0, "compile_seconds": compiled}
    if against:
        theirs = Theirs(*against)
        figures |= agreement(module, theirs, batch)
        prepared = [theirs.prepare(batch)]
        turns["torch"] = lambda: theirs.epoch(prepared)
    turns["matmul"] = matmul_turn()
    saves = Saves(folder, ours)
    turns["checkpoint"] = saves
    times = [taken for taken, _ in in_rounds(turns, rounds)]
    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    figures |= {
        "ours_seconds_a_step": median["ours"],
        "ours_stored_seconds_a_step": median["ours_stored"],
        "ours_over_stored": statistics.median(taken["ours"] / taken["ours_stored"] for taken in times),
        "stored_mb": sum(x.nbytes for x in stored.values()) / 1e6,
        "matmul_gflops": MATMUL_FLOPS / median["matmul"] / 1e9,
        "peak_memory_mb": peak_memory_mb(),
        **saves.figures(),
    }
    if against:
        figures["torch_seconds_a_step"] = median["torch"]
        figures["ours_over_torch"] = statistics.median(taken["torch"] / taken["ours"] for taken in times)
    return figures


class Saves:
    """Writes the state of a training, and measures how long the loop and the background are held up."""

    def __init__(self, folder: Path, ours: "Ours"):
        self._checkpoints, self._ours = Checkpoints(folder, keep=1), ours
        self._taken: list[tuple[float, float, float]] = []

    def __call__(self) -> None:
        """A checkpoint."""
        hashing = checkpoints.hash_files
        spent = [0.0]

        def measured(files: Any) -> Any:
            spent[0], found = timed(lambda: hashing(files))
            return found

        checkpoints.hash_files = measured
        try:
            blocked, _ = timed(lambda: self._checkpoints.save(len(self._taken) + 1, self._ours.state))
            waited, _ = timed(self._checkpoints.wait)
        finally:
            checkpoints.hash_files = hashing
        self._taken.append((blocked, blocked + waited, spent[0]))

    def figures(self) -> dict[str, float]:
        """Medians."""
        blocked, whole, hashed = (statistics.median(values) for values in zip(*self._taken, strict=True))
        return {
            "checkpoint_mb": checkpoints.state_bytes(self._ours.state) / 1e6,
            "checkpoint_seconds": whole,
            "checkpoint_holds_up_seconds": blocked,
            "checksums_share_of_checkpoint": hashed / whole,
        }


def pairs_of_clips(metrics: Mapping[str, Metric], *, rows: int, seconds: float) -> Batch:
    """A batch of pairs of generated clips, each clip labelled in every metric."""
    clips = np.stack(list(generated(2 * rows, seconds=seconds)))
    data = random_set([""] * len(clips), np.full(len(clips), seconds), metrics)
    low, high = np.array([_bounds(metric) for metric in metrics.values()]).T
    labels = np.where(np.isnan(data.labels), (low + high) / 2, data.labels).astype(np.float32).reshape(rows, 2, -1)
    comparative = [list(metrics).index(name) for name in data.comparative]
    cmos = labels[:, 0, comparative] - labels[:, 1, comparative]
    return {
        "waveform": clips.reshape(rows, 2, -1),
        "lengths": np.full((rows, 2), clips.shape[1], np.int32),
        "labels": labels,
        "label_mask": np.ones(labels.shape, bool),
        "cmos": cmos,
        "cmos_mask": np.ones(cmos.shape, bool),
    }


def random_set(
    paths: list[str], seconds: np.ndarray, metrics: Mapping[str, Metric], references: np.ndarray | None = None
) -> TrainingSet:
    """One corpus with random labels in range, a part of them missing; each clip keeps one.

    Args:
        paths: N files; an empty name serves for a plan that is never loaded.
        seconds: [N].
        metrics: Of the model.
        references: [N] numbers; None where nothing is known of them.
    """
    rng = np.random.default_rng(0)
    low, high = np.array([_bounds(metric) for metric in metrics.values()]).T
    labels = rng.uniform(low, high, (len(paths), len(metrics))).astype(np.float32)
    missing = rng.random(labels.shape) < MISSING
    missing[missing.all(1), -1] = False
    comparative = tuple(name for name, metric in metrics.items() if metric.comparative)
    return TrainingSet(
        uids=[f"{place}:{path}" for place, path in enumerate(paths)],
        paths=paths,
        seconds=seconds,
        labels=np.where(missing, np.float32(np.nan), labels),
        corpora=np.zeros(len(paths), np.int64),
        references=np.full(len(paths), -1) if references is None else references,
        systems=[None] * len(paths),
        alone=np.ones(len(paths), bool),
        pairs=np.zeros((0, 2), np.int64),
        cmos=np.zeros((0, len(comparative)), np.float32),
        metrics=tuple(metrics),
        comparative=comparative,
        clipped={},
    )


def make_plan(data: TrainingSet, scope: PairingScope, batch_seconds: float, min_samples: int) -> Plan:
    """The plan of a run, with the published limits."""
    limits = {"most": RECIPE.batch.clips, "max_seconds": RECIPE.data.max_seconds}
    return Plan(data, scope=scope, seconds=batch_seconds, min_samples=min_samples, seed=0, **limits)


def plan_figures(plan: Plan, prefix: str = "") -> dict[str, Any]:
    """Padding efficiency of rows with one and with two sides, where there are such, and the shapes of an epoch."""
    sides = {"one_sided": plan.padding_efficiency(1), "two_sided": plan.padding_efficiency(2)}
    figures = {f"{prefix}padding_efficiency_{name}": value for name, value in sides.items() if not np.isnan(value)}
    return {**figures, f"{prefix}shapes": len(plan.shapes())}


def realistic_plans(metrics: Mapping[str, Metric], min_samples: int) -> dict[str, Any]:
    """`plan_figures` of a few thousand clips in the published batches, for three ways of pairing.

    Lengths are log-normal around 4.5 s; those of one reference, the same sentence by several systems, differ by 5%.
    """
    rng = np.random.default_rng(0)
    references = np.repeat(np.arange(PLANNED_CLIPS // CLIPS_A_REFERENCE), CLIPS_A_REFERENCE)
    sentences = rng.lognormal(np.log(4.5), 0.45, references[-1] + 1)[references]
    seconds = np.clip(sentences * rng.normal(1, 0.05, PLANNED_CLIPS), 1, 20)
    data = random_set([""] * PLANNED_CLIPS, seconds, metrics, references)
    figures: dict[str, Any] = {"planned_clips": PLANNED_CLIPS}
    for scope in ("corpus", "reference", "none"):
        plan = make_plan(data, scope, RECIPE.batch.seconds, min_samples)
        figures |= plan_figures(plan, f"planned_{scope}_")
    return figures


def training_flops(config: ModelConfig, batches: Sequence[Batch]) -> float:
    """Operations of the updates, without padding: what is needed, not what is done.

    A frozen encoder is passed forward once. All else counts three times the forward pass: backward, a matrix product
    needs one for the gradient of its input and one for that of its weights. A comparison is the cross-attention of
    both orders, each side projected to queries, keys, values and output once. Transformers of a CMOS head's own,
    pooling, dropout and the optimizer are left out.
    """
    encoders = [(3 if not encoder.freeze else 1, encoder.architecture) for encoder in config.encoders]
    width, total = config.width, 0.0
    for lengths in itertools.chain.from_iterable(batch["lengths"].tolist() for batch in batches):
        for samples in filter(None, lengths):
            work = [architecture.flops(samples) for _, architecture in encoders]
            total += sum(times * one for (times, _), one in zip(encoders, work, strict=True))
            total += 3 * (clip_flops(config, samples) - sum(work))
        if len(lengths) == 2 and all(lengths):
            a, b = (max(one.frame_lengths(samples) for _, one in encoders) for samples in lengths)
            crossed = 2 * 4 * (a + b) * width**2 + 2 * 4 * a * b * width
            total += 3 * len(config.comparative_metrics) * crossed
    return total


class Ours:
    """Training of a copy of a module.

    Args:
        module: Is left as it is.
        dropout: Whether there is any.
    """

    def __init__(self, module: UrgentMOS, *, dropout: bool = True):
        self._layout = Layout(RECIPE.mesh, jax.local_devices()[:1])
        config = module.config
        graph, trained, frozen = split_module(module)
        if not dropout:
            config = without_dropout(config)
            graph = split_module(nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0))))[0]
        trained, self._frozen = self._layout.put((trained, frozen))
        optimizer = make_optimizer(RECIPE.optimizer, UPDATES)
        self._step = TrainStep(graph, trained, config, optimizer, RECIPE.loss, self._layout, seed=0)
        # Copied, since the step donates its state.
        self.state = self._step.init(jax.tree.map(jax.numpy.copy, trained))

    def update(self, batch: Batch) -> dict[str, jax.Array]:
        """One step; the report of `TrainStep`, not waited for."""
        self.state, report = self._step(self.state, self._frozen, [self._layout.put_rows(batch)])
        return report

    def epoch(self, batches: Sequence[Batch]) -> None:
        """One step with each batch."""
        for batch in batches:
            self.update(batch)
        jax.block_until_ready(self.state)


class Theirs:
    """Training of the torch assembly as the authors do it.

    Encoders compute as in evaluation, as ours do: the authors leave dropout in a frozen one by oversight.

    Args:
        checkpoint: In the published format.
        encoder: Folder with the encoder's config.
    """

    def __init__(self, checkpoint: Path, encoder: Path):
        import torch

        from launch.torch_assembly import from_checkpoint

        gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
        self._model = from_checkpoint(checkpoint, [encoder]).to("cuda" if gpu else "cpu")
        self._parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        settings = RECIPE.optimizer
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def prepare(self, batch: Batch) -> tuple:
        """Arguments of `training_loss`, on the host: the clips of all rows as A, then as B, to be padded together."""
        import torch

        lengths = batch["lengths"]
        rows, sides = int((lengths[:, 0] > 0).sum()), lengths.shape[1]
        clips = [
            torch.from_numpy(batch["waveform"][row, side, : lengths[row, side]])
            for side in range(sides)
            for row in range(rows)
        ]
        labels, cmos = (
            torch.from_numpy(np.where(batch[mask], batch[name], np.nan)[:rows])
            for name, mask in (("labels", "label_mask"), ("cmos", "cmos_mask"))
        )
        pairs = torch.arange(rows * sides).reshape(sides, rows).T if sides == 2 else torch.zeros((0, 2), dtype=int)
        return clips, labels.transpose(0, 1).flatten(0, 1), pairs, cmos[: len(pairs)]

    def gradients(self, prepared: tuple) -> tuple[float, float]:
        """Loss and norm of the gradient, without dropout and without an update."""
        self._model.eval()
        loss, norm = self._backward(prepared)
        self._optimizer.zero_grad()
        return loss.item(), norm.item()

    def epoch(self, prepared: Sequence[tuple]) -> None:
        """One update with each batch."""
        self._model.train()
        for encoder in self._model.feature_extractor.feature_extractors:
            encoder.model.eval()
        for batch in prepared:
            self._optimizer.zero_grad()
            loss, _ = self._backward(batch)
            self._optimizer.step()
        loss.item()

    def _backward(self, prepared: tuple) -> tuple[Any, Any]:
        import torch

        loss = self._model.training_loss(*prepared)
        loss.backward()
        return loss.detach(), torch.nn.utils.clip_grad_norm_(self._parameters, RECIPE.optimizer.clip_norm)


def agreement(module: UrgentMOS, theirs: Theirs, batch: Batch) -> dict[str, float]:
    """Relative differences of loss and norm of the gradient on one batch, dropout off.

    The clips are cut to the shortest of them: behind a group norm, padding moves the features of the torch model.

    Raises:
        SystemExit: they differ by more than rounding.
    """
    lengths = batch["lengths"]
    batch = {**batch, "lengths": np.where(lengths > 0, lengths[lengths > 0].min(), 0).astype(np.int32)}
    with jax.default_matmul_precision("highest"):
        report = Ours(module, dropout=False).update(batch)
        found = float(report["loss"]), float(report["grad_norm"])
    loss, gradient = (abs(a - b) / abs(b) for a, b in zip(found, theirs.gradients(theirs.prepare(batch)), strict=True))
    if not (loss <= LOSSES_AGREE and gradient <= GRADIENTS_AGREE):
        raise SystemExit(f"losses differ by {loss:.2g}, gradients by {gradient:.2g}: no benchmark of unlike things")
    return {"loss_difference": loss, "gradient_norm_difference": gradient}


def without_dropout(config: Any) -> Any:
    """A config with every rate of dropout in it, however deep, at 0."""
    changes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "dropout":
            changes[field.name] = 0.0
        elif dataclasses.is_dataclass(value):
            changes[field.name] = without_dropout(value)
        elif field.name == "encoders":
            changes[field.name] = tuple(map(without_dropout, value))
    return dataclasses.replace(config, **changes)


def _bounds(metric: Metric) -> tuple[float, float]:
    """Range that labels are drawn from: the metric's, where that is finite."""
    low, high = metric.minimum, metric.maximum
    if not np.isfinite(low):
        low = high - 5 if np.isfinite(high) else -2.5
    return low, high if np.isfinite(high) else low + 5
