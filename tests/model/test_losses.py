"""Losses against sums written out by hand, and on every pattern of missing labels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from urgentmos_jax.model.losses import LossConfig, absolute_loss, comparative_loss, metric_weights, total_loss

CATEGORIES = [[0, 2], [1]]
RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(2, 4, 3)) * 2


def by_hand(mask: np.ndarray, criterion: str) -> float:
    """Mean over items, metrics, categories, as the design says it."""
    error = np.abs(SCORES - LABELS)
    item = error**2 if criterion == "squared" else np.where(error < 0.5, error**2 / 2, 0.5 * (error - 0.25))
    means = []
    for metrics in CATEGORIES:
        inner = [item[mask[:, k], k].mean() for k in metrics if mask[:, k].any()]
        if inner:
            means.append(np.mean(inner))
    return float(np.mean(means)) if means else 0.0


@pytest.mark.parametrize("criterion", ["squared", "huber"])
def test_absolute_loss_for_every_pattern_of_labels(criterion: str):
    config = LossConfig(criterion=criterion)

    @jax.jit
    @jax.value_and_grad
    def loss(scores, labels, mask):
        return absolute_loss(scores, labels, mask, metric_weights(mask.sum(0), CATEGORIES), config)[0]

    columns = [(0, 0, 0, 0), (1, 0, 0, 1), (1, 1, 1, 1)]
    for pattern in itertools.product(columns, repeat=3):
        mask = np.array(pattern, bool).T
        value, gradient = loss(SCORES, np.where(mask, LABELS, np.nan), mask)
        assert float(value) == pytest.approx(by_hand(mask, criterion), rel=1e-5, abs=1e-7)
        assert np.isfinite(gradient).all() and (np.asarray(gradient)[~mask] == 0).all()


def test_parts_of_a_batch_add_up():
    mask = RNG.random((4, 3)) < 0.6
    weights = metric_weights(jnp.asarray(mask.sum(0)), CATEGORIES)
    config = LossConfig()
    whole = absolute_loss(SCORES, LABELS, mask, weights, config)[0]
    parts = [absolute_loss(SCORES[i], LABELS[i], mask[i], weights, config)[0] for i in ([0], [1, 2], [3])]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


def test_comparative_loss_and_the_classes_of_its_labels():
    labels = np.array([[0.6], [0.5], [-0.5], [-0.7], [0.0], [np.nan]])
    classes = [0, 2, 2, 1, 2, None]
    logits = RNG.normal(size=(6, 1, 3))
    cmos = RNG.normal(size=(6, 1))
    mask = ~np.isnan(labels)
    weights = metric_weights(mask.sum(0), [[0]])
    value, _ = comparative_loss(cmos, logits, labels, mask, weights, LossConfig())
    entropy = [-(x[0, c] - np.log(np.exp(x[0]).sum())) for x, c in zip(logits, classes, strict=True) if c is not None]
    squared = np.square(cmos - labels)[:5].mean()
    assert float(value) == pytest.approx(0.5 * squared + 0.5 * np.mean(entropy), rel=1e-5)


def test_no_label_at_all_is_zero_and_finite():
    nothing = np.zeros((4, 3), bool)

    def loss(scores):
        absolute, _ = absolute_loss(scores, LABELS, nothing, metric_weights(nothing.sum(0), CATEGORIES), LossConfig())
        pairs = jnp.zeros((2, 1), bool)
        weights = metric_weights(pairs.sum(0), [[0]])
        comparative, _ = comparative_loss(
            scores[:2, :1], jnp.zeros((2, 1, 3)), jnp.full((2, 1), jnp.nan), pairs, weights, LossConfig()
        )
        return total_loss(absolute, comparative, LossConfig())

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(SCORES))
    assert value == 0 and (gradient == 0).all()


def test_one_kind_of_label_keeps_its_weight():
    assert float(total_loss(jnp.float32(3.0), jnp.float32(0.0), LossConfig())) == 1.5


@pytest.mark.parametrize(
    ("mean_over", "wanted"),
    [
        # Errors by category: (4 + 1) / 2, 9, (1 + 16) / 2, none, 25: their mean.
        ("categories", (2.5 + 9 + 8.5 + 25) / 4),
        # The six metrics with labels, alike.
        ("metrics", (4 + 1 + 9 + 1 + 16 + 25) / 6),
    ],
)
def test_five_categories_by_hand(mean_over: str, wanted: float):
    """The fifteen metrics of Table 1 as five categories: means over both, or over metrics alone."""
    categories = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12], [13], [14]]
    errors = {0: (2, -2), 4: (1,), 6: (-3, 3), 10: (1,), 11: (4,), 14: (5, -5)}
    mask, labels = np.zeros((2, 15), bool), np.full((2, 15), np.nan)
    scores = RNG.normal(size=(2, 15))
    for metric, values in errors.items():
        for item, error in enumerate(values):
            mask[item, metric], labels[item, metric] = True, scores[item, metric] - error
    config = LossConfig(mean_over=mean_over)
    weights = metric_weights(mask.sum(0), config.groups(categories))
    value, sums = absolute_loss(scores, labels, mask, weights, config)
    assert float(value) == pytest.approx(wanted, rel=1e-5)
    assert np.asarray(sums)[[0, 4, 14]] == pytest.approx([8, 1, 50], rel=1e-5)
    # With one category both are the same.
    one = [list(range(15))]
    assert config.groups(one) == LossConfig().groups(one) == one
