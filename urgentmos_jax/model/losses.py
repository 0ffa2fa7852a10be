"""Masked multi-metric and preference losses (paper section 3), pure functions over the global batch.

Every loss is a sum of errors times weights that depend on the label masks alone. So a batch may be cut into parts:
weights from the whole, errors from the parts, and the parts add up to the loss of the whole. Finite for any pattern
of missing labels.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the parts; defaults as published.

    Args:
        criterion: Error of absolute scores.
        huber_delta: Where the Huber error turns linear.
        absolute, comparative: Weights of the two kinds of labels in the total. If a batch has one kind only, that
            kind keeps its weight.
        regression, classification: Weights of the two errors of a comparison.
        tie: |CMOS| up to which, inclusive, a comparison counts as a tie.
        mean_over: Errors of scores are averaged within a metric, then over the metrics of a "categories" entry and over
            the categories, as the published code does; or over all "metrics" at once, as the paper's equation says.
    """

    criterion: Literal["squared", "huber"] = "squared"
    huber_delta: float = 0.5
    absolute: float = 0.5
    comparative: float = 0.5
    regression: float = 0.5
    classification: float = 0.5
    tie: float = 0.5
    mean_over: Literal["categories", "metrics"] = dataclasses.field(default="categories", metadata={"later": True})

    def groups(self, categories: Sequence[Sequence[int]]) -> list[list[int]]:
        """Indices of the metrics whose means are averaged together, for `metric_weights`."""
        if self.mean_over == "categories":
            return [list(indices) for indices in categories]
        return [[index for indices in categories for index in indices]]


def metric_weights(counts: jax.Array, categories: Iterable[Iterable[int]]) -> jax.Array:
    """Weight [K] float32 of one labelled item in each metric.

    Mean over the labelled items of a metric, over the labelled metrics of a category, over the categories that have
    any: the weight of an item is the product of the three inverse counts, 0 for a metric without labels.

    Args:
        counts: [K] labelled items of each metric in the global batch.
        categories: Indices of the metrics of each category; see `LossConfig.groups`.
    """
    counts = jnp.asarray(counts)
    present = (counts > 0).astype(jnp.float32)
    weights = present / jnp.maximum(counts, 1)
    filled = jnp.zeros(())
    for indices in categories:
        index = jnp.asarray(tuple(indices))
        metrics = present[index].sum()
        weights = weights.at[index].divide(jnp.maximum(metrics, 1))
        filled = filled + (metrics > 0)
    return weights / jnp.maximum(filled, 1)


def absolute_loss(
    scores: jax.Array, labels: jax.Array, mask: jax.Array, weights: jax.Array, config: LossConfig
) -> tuple[jax.Array, jax.Array]:
    """Loss of absolute scores.

    Args:
        scores, labels, mask: [N, K]; labels may hold anything where the mask is False.
        weights: [K] of `metric_weights`.
        config: Criterion.

    Returns:
        Loss, and the sum of the errors of each metric [K].
    """
    error = jnp.where(mask, scores - jnp.where(mask, labels, 0), 0)
    if config.criterion == "squared":
        error = jnp.square(error)
    else:
        size, delta = jnp.abs(error), config.huber_delta
        error = jnp.where(size <= delta, 0.5 * jnp.square(error), delta * (size - 0.5 * delta))
    sums = error.sum(0)
    return (sums * weights).sum(), sums


def comparative_loss(
    cmos: jax.Array, logits: jax.Array, labels: jax.Array, mask: jax.Array, weights: jax.Array, config: LossConfig
) -> tuple[jax.Array, jax.Array]:
    """Loss of comparisons: squared error of the CMOS and cross-entropy of its class.

    In training each pair appears in both orders, with its label negated in the second: give both here.

    Args:
        cmos, labels, mask: [P, C], positive = A better; True where there is a label.
        logits: [P, C, 3] for A better, B better, tie.
        weights: [C] of `metric_weights`.
        config: Weights of the two errors, and the tie rule.

    Returns:
        Loss, and the sums of the two weighted errors of each metric [C].
    """
    labels = jnp.where(mask, labels, 0)
    classes = jnp.where(labels > config.tie, 0, jnp.where(labels < -config.tie, 1, 2))
    entropy = -jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], -1)[..., 0]
    error = config.regression * jnp.square(cmos - labels) + config.classification * entropy
    sums = jnp.where(mask, error, 0).sum(0)
    return (sums * weights).sum(), sums


def total_loss(absolute: jax.Array, comparative: jax.Array, config: LossConfig) -> jax.Array:
    """Weighted sum of the two kinds; a kind without labels is 0 and leaves the other as it is."""
    return config.absolute * absolute + config.comparative * comparative
