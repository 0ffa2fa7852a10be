"""The training step: losses and gradients of one or several batches, and the update.

Batches of one update may differ in shape. Their labels are counted first, so that each contributes as it would in one
large batch, whatever way the rows were cut. Gradients are compiled once for each shape of a batch, the update once.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.model.losses import LossConfig, absolute_loss, comparative_loss, metric_weights, total_loss
from urgentmos_jax.model.urgentmos import Features, ModelConfig, UrgentMOS
from urgentmos_jax.nn.stack import LayerStack
from urgentmos_jax.schema import at_least
from urgentmos_jax.training.sharding import Layout, path_name

Precision = Literal["float32", "bfloat16"]

# After so many updates in a row whose gradients are not finite, nothing is updated any more.
MAX_BAD_IN_A_ROW = 3


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW on all parameters, weight decay included, as published.

    Args:
        learning_rate: Its highest value.
        schedule: From there to the end of the run: "constant", "linear" to 0, "cosine" to 0.
        warmup_updates: Updates of linear warm-up from 0.
        weight_decay: Decoupled, times the learning rate.
        clip_norm: Norm of the whole gradient that it is scaled down to.
    """

    learning_rate: float = dataclasses.field(metadata={"above": 0})
    schedule: Literal["constant", "linear", "cosine"]
    warmup_updates: int = dataclasses.field(metadata=at_least(0))
    weight_decay: float = dataclasses.field(metadata=at_least(0))
    clip_norm: float = dataclasses.field(metadata={"above": 0})


def learning_rate(config: OptimizerConfig, updates: int) -> optax.Schedule:
    """Learning rate of each update."""
    rest, top = max(1, updates - config.warmup_updates), config.learning_rate
    kinds = {
        "constant": lambda: optax.constant_schedule(top),
        "linear": lambda: optax.linear_schedule(top, 0.0, rest),
        "cosine": lambda: optax.cosine_decay_schedule(top, rest),
    }
    # The first update is number 1 of the ramp: at 0 it would be lost.
    ramp = optax.linear_schedule(top / (config.warmup_updates + 1), top, max(1, config.warmup_updates))
    return optax.join_schedules([ramp, kinds[config.schedule]()], [config.warmup_updates])


def make_optimizer(config: OptimizerConfig, updates: int) -> optax.GradientTransformation:
    """Global-norm clip and AdamW with torch's constants."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(learning_rate(config, updates), b1=0.9, b2=0.999, eps=1e-8, weight_decay=config.weight_decay),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds.

    Args:
        step: int32 [], updates so far, those left out included.
        trained: Parameters that are trained.
        optimizer: State of the optimizer.
        bad: int32 [], updates left out because the loss or a gradient was not finite.
        bad_in_a_row: int32 [], how many of them at the end.
    """

    step: jax.Array
    trained: nnx.State
    optimizer: Any
    bad: jax.Array
    bad_in_a_row: jax.Array


def split_module(
    module: UrgentMOS, *, remat: bool = False, layout: Layout | None = None
) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """Graph, parameters that are trained, parameters of frozen encoders.

    With `remat` the layers of stacks are computed again in the backward pass instead of keeping their activations.
    Where a `layout` spreads parameters over `data`, stacks gather each layer's where it is used.
    """
    gather = layout.gathered if layout is not None and layout.fully_sharded else None
    frozen = {str(i) for i, encoder in enumerate(module.config.encoders) if encoder.freeze}

    def trained(path: tuple, value: Any) -> bool:
        return not (path[0] == "encoders" and str(path[1]) in frozen)

    for _, part in nnx.iter_graph(module):
        if isinstance(part, LayerStack):
            part.remat, part.gather = remat, gather
    graph, learnt, *rest = nnx.split(module, trained, ...)
    return graph, learnt, rest[0]


class TrainStep:
    """Updates a state with batches.

    Args:
        graph, trained: Of `split_module`; shapes of the parameters are enough.
        config, optimizer, loss, layout: Of the model and the run.
        seed: Of dropout.
        precision: "bfloat16" computes in it; parameters, norms, softmax, losses and updates are float32 all the same.
    """

    def __init__(
        self,
        graph: nnx.GraphDef,
        trained: nnx.State,
        config: ModelConfig,
        optimizer: optax.GradientTransformation,
        loss: LossConfig,
        layout: Layout,
        *,
        seed: int,
        precision: Precision = "float32",
    ):
        self._graph, self._config, self._optimizer, self._loss = graph, config, optimizer, loss
        self._layout, self._seed, self._precision = layout, seed, precision
        names = list(config.metrics)
        self._groups = loss.groups([[names.index(name) for name in metrics] for metrics in config.categories.values()])
        self.abstract = self._abstract(trained)
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract)
        whole = layout.replicated
        self.init = jax.jit(self._traced_init, out_shardings=shardings)
        self._count = jax.jit(_label_counts, out_shardings=whole)
        # Laid out as the parameters are, whatever the compiler would choose for a shape of batches.
        self._part = jax.jit(self._traced_part, out_shardings=(whole, shardings.trained))
        self._add = jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b), donate_argnums=0)
        self._apply = jax.jit(self._traced_apply, donate_argnums=0, out_shardings=(shardings, whole))
        self._compiled: dict[tuple, jax.stages.Compiled] = {}
        self._indices: dict[int, jax.Array] = {}

    def _abstract(self, trained: nnx.State) -> TrainState:
        """Shapes, dtypes and shardings of a state."""
        shapes = jax.eval_shape(self._traced_init, trained)
        shardings = self._layout.shardings(shapes)
        return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, shardings)

    def _traced_init(self, trained: nnx.State) -> TrainState:
        """State before the first update."""
        zero = functools.partial(jnp.zeros, (), jnp.int32)
        return TrainState(zero(), trained, self._optimizer.init(trained), zero(), zero())

    def __call__(
        self, state: TrainState, frozen: nnx.State, batches: Sequence[BatchArrays]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update.

        Args:
            state: Is donated.
            frozen: Parameters of frozen encoders.
            batches: On the devices, see `Layout.put_rows`; together they are the batch of the update.

        Returns:
            The next state, and the report: `loss`, `loss/absolute`, `loss/comparative`; by metric the mean errors
            `error/<metric>` and `error/<metric> (pairs)`, NaN without labels; `grad_norm`, `update_norm`, `bad`,
            `bad_in_a_row`. Where the loss or a gradient is not finite, or there is no label at all, the parameters and
            the optimizer stay as they are.
        """
        counts = functools.reduce(self._add, [self._count(batch) for batch in batches])
        total = None
        for index, batch in enumerate(batches):
            compiled = self.compiled(frozen, batch)
            part = compiled(state.trained, frozen, batch, counts, state.step, self._index(index))
            total = part if total is None else self._add(total, part)
        return self._apply(state, total, counts)

    def compiled(self, frozen: nnx.State, batch: BatchArrays) -> jax.stages.Compiled:
        """Loss and gradients of batches of one shape (arrays, or their shapes with shardings), compiled once."""
        leaves, structure = jax.tree.flatten(batch)
        shape = (structure, *((x.shape, str(x.dtype)) for x in leaves))
        if shape not in self._compiled:
            self._compiled[shape] = self.trace(frozen, batch).lower().compile()
        return self._compiled[shape]

    def trace(self, frozen: nnx.State, batch: BatchArrays) -> jax.stages.Traced:
        """The program of loss and gradients for batches of one shape, as `compiled` takes them."""
        scalar = self._whole(jax.ShapeDtypeStruct((), jnp.int32))
        return self._part.trace(self.abstract.trained, frozen, batch, self._abstract_counts(batch), scalar, scalar)

    def trace_update(self, frozen: nnx.State, batch: BatchArrays) -> jax.stages.Traced:
        """The program that updates the state by the gradients of such batches."""
        scalar = self._whole(jax.ShapeDtypeStruct((), jnp.int32))
        counts = self._abstract_counts(batch)
        total = jax.eval_shape(self._traced_part, self.abstract.trained, frozen, batch, counts, scalar, scalar)
        sums = jax.tree.map(self._whole, total[0])
        return self._apply.trace(self.abstract, (sums, self.abstract.trained), counts)

    @property
    def shapes(self) -> int:
        """Shapes of batches that were compiled."""
        return len(self._compiled)

    def _abstract_counts(self, batch: BatchArrays) -> Any:
        return jax.tree.map(self._whole, jax.eval_shape(_label_counts, batch))

    def _whole(self, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._layout.replicated)

    def _index(self, index: int) -> jax.Array:
        if index not in self._indices:
            self._indices[index] = self._layout.whole(np.int32(index))
        return self._indices[index]

    def _traced_part(
        self, trained: nnx.State, frozen: nnx.State, batch: BatchArrays, counts: Any, step: jax.Array, index: jax.Array
    ) -> tuple[tuple, nnx.State]:
        """((loss, sums), gradients) of one batch, weighted by the counts of all."""
        # Half the time of compiling is threefry's, where it draws the masks of dropout.
        key = jax.random.key(self._seed, impl="rbg")
        key = jax.random.fold_in(jax.random.fold_in(key, step), index)

        def loss(trained: nnx.State) -> tuple[jax.Array, Any]:
            parameters = (trained, frozen)
            if self._precision == "bfloat16":
                parameters = jax.tree.map(lambda x: x.astype(jnp.bfloat16), parameters)
            if self._layout.fully_sharded:
                parameters = _gathered_outside_stacks(self._layout, parameters)
            return self._losses(nnx.merge(self._graph, *parameters), batch, counts, key)

        return jax.value_and_grad(loss, has_aux=True)(trained)

    def _losses(self, module: UrgentMOS, batch: BatchArrays, counts: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        rows, sides = batch.lengths.shape
        keys = jax.random.split(key, 3)

        def clips(x: jax.Array) -> jax.Array:
            # A and B of a row stay neighbours, so that both lie on one device.
            return x.reshape(rows * sides, *x.shape[2:])

        waveform = None if batch.waveform is None else clips(batch.waveform)
        states = {encoder: clips(x) for encoder, x in batch.states.items()}
        features = module.encode(waveform, clips(batch.lengths), states=states, dropout_key=keys[0])
        scores = module.absolute(features, dropout_key=keys[1])
        stacked = jnp.stack([scores[name].score for name in self._config.metrics], 1)
        labels, mask = clips(batch.labels), clips(batch.label_mask)
        absolute, sums = absolute_loss(stacked, labels, mask, metric_weights(counts[0], self._groups), self._loss)
        comparative, pair_sums = jnp.zeros(()), jnp.zeros(len(self._config.comparative_metrics))
        if sides == 2 and self._config.comparative_metrics:
            found = module.compare(features, _other_side(features), dropout_key=keys[2])
            # Every pair in both orders, its label negated in the second.
            labels = jnp.stack([batch.cmos, -batch.cmos], 1).reshape(rows * 2, -1)
            weights = metric_weights(2 * counts[1], [range(len(found))])
            cmos, logits = (jnp.stack(parts, 1) for parts in zip(*found.values(), strict=True))
            mask = jnp.repeat(batch.cmos_mask, 2, axis=0)
            comparative, pair_sums = comparative_loss(cmos, logits, labels, mask, weights, self._loss)
        return total_loss(absolute, comparative, self._loss), (absolute, comparative, sums, pair_sums)

    def _traced_apply(self, state: TrainState, total: Any, counts: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        (loss, (absolute, comparative, sums, pair_sums)), gradients = total
        grad_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & (state.bad_in_a_row < MAX_BAD_IN_A_ROW)
        labelled = jnp.concatenate(counts).sum() > 0
        updates, optimizer = self._optimizer.update(gradients, state.optimizer, state.trained)
        trained = optax.apply_updates(state.trained, updates)

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(finite & labelled, new, old)

        following = TrainState(
            state.step + 1,
            jax.tree.map(keep, trained, state.trained),
            jax.tree.map(keep, optimizer, state.optimizer),
            state.bad + ~finite,
            jnp.where(finite, 0, state.bad_in_a_row + 1),
        )
        report = {"loss": loss, "loss/absolute": absolute, "loss/comparative": comparative}
        means = jnp.where(counts[0] > 0, sums / counts[0], jnp.nan)
        report |= {f"error/{name}": means[i] for i, name in enumerate(self._config.metrics)}
        means = jnp.where(counts[1] > 0, pair_sums / (2 * counts[1]), jnp.nan)
        report |= {f"error/{name} (pairs)": means[i] for i, name in enumerate(self._config.comparative_metrics)}
        report |= {"grad_norm": grad_norm, "update_norm": optax.tree.norm(updates)}
        report |= {"bad": following.bad, "bad_in_a_row": following.bad_in_a_row}
        return following, report


def _label_counts(batch: BatchArrays) -> tuple[jax.Array, jax.Array]:
    """Labelled clips [K] and labelled pairs [C] of a batch."""
    return batch.label_mask.sum((0, 1)), batch.cmos_mask.sum(0)


def _gathered_outside_stacks(layout: Layout, parameters: Any) -> Any:
    """Gathers what `LayerStack` does not gather itself, layer by layer."""
    gathered = layout.gathered(parameters)
    return jax.tree.map_with_path(
        lambda path, x, whole: x if ".stacked." in path_name(path) else whole, parameters, gathered
    )


def _other_side(features: Features) -> Features:
    """For each clip of rows (A, B) the other clip of its row."""
    return jax.tree.map(lambda x: x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape), features)
