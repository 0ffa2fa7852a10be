"""Training of one model, by this package and by the torch reference."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from launch.benchmark.batches import RECIPE
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.step import Precision, TrainStep, make_optimizer, split_module

# Of the run that the steps are taken from: so long that the learning rate hardly falls.
UPDATES = 1_000_000
LOSSES_AGREE = 1e-4
GRADIENTS_AGREE = 1e-3


class Ours:
    """Training of a copy of a module.

    Args:
        module: Is left as it is.
        dropout: Whether there is any.
        precision: See `TrainStep`.
    """

    def __init__(self, module: UrgentMOS, *, dropout: bool = True, precision: Precision = "float32"):
        self._layout = Layout(RECIPE.mesh, jax.local_devices()[:1])
        config = module.config
        graph, trained, frozen = split_module(module)
        if not dropout:
            config = without_dropout(config)
            graph = split_module(nnx.eval_shape(lambda: UrgentMOS(config, rngs=nnx.Rngs(0))))[0]
        trained, self._frozen = self._layout.put((trained, frozen))
        optimizer = make_optimizer(RECIPE.optimizer, UPDATES)
        settings = {"seed": 0, "precision": precision}
        self._step = TrainStep(graph, trained, config, optimizer, RECIPE.loss, self._layout, **settings)
        # Copied, since the step donates its state.
        self.state = self._step.init(jax.tree.map(jax.numpy.copy, trained))

    def update(self, batch: BatchArrays) -> dict[str, jax.Array]:
        """One step; the report of `TrainStep`, not waited for."""
        self.state, report = self._step(self.state, self._frozen, [self._layout.put_rows(batch)])
        return report

    def memory(self, batch: BatchArrays) -> int:
        """Bytes of the device for gradients of such a batch, by the compiler's plan; the moments lie beside them."""
        found = self._step.compiled(self._frozen, self._layout.put_rows(batch)).memory_analysis()
        return found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes

    def epoch(self, batches: Sequence[BatchArrays]) -> None:
        """One step with each batch."""
        for batch in batches:
            self.update(batch)
        jax.block_until_ready(self.state)


class Theirs:
    """Training of the torch reference as the authors do it.

    Encoders compute as in evaluation, as ours do: the authors leave dropout in a frozen one by oversight.

    Args:
        checkpoint: In the published format.
        encoder: Folder with the encoder's config.
    """

    def __init__(self, checkpoint: Path, encoder: Path):
        import torch

        from launch.benchmark.torch_reference.checkpoints import from_checkpoint

        gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
        self._model = from_checkpoint(checkpoint, [encoder]).to("cuda" if gpu else "cpu")
        self._parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        settings = RECIPE.optimizer
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def prepare(self, batch: BatchArrays) -> tuple:
        """Arguments of `training_loss`, on the host: the clips of all rows as A, then as B, to be padded together."""
        import torch

        lengths = batch.lengths
        rows, sides = int((lengths[:, 0] > 0).sum()), lengths.shape[1]
        clips = [
            torch.from_numpy(batch.waveform[row, side, : lengths[row, side]])
            for side in range(sides)
            for row in range(rows)
        ]
        labels, cmos = (
            torch.from_numpy(np.where(getattr(batch, mask), getattr(batch, name), np.nan)[:rows])
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


def agreement(module: UrgentMOS, theirs: Theirs, batch: BatchArrays) -> dict[str, float]:
    """Relative differences of loss and norm of the gradient on one batch, dropout off.

    The clips are cut to the shortest of them: behind a group norm, padding moves the features of the torch model.

    Raises:
        SystemExit: they differ by more than rounding.
    """
    lengths = batch.lengths
    cut = np.where(lengths > 0, lengths[lengths > 0].min(), 0).astype(np.int32)
    batch = dataclasses.replace(batch, lengths=cut)
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
