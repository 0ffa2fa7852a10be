"""What the runs of this folder have in common. Each of the other files says what differs from it.

Every key is here, with the value of the published recipe (UrgentMOS, arXiv 2601.18438). Any may be set on the command
line: `--config.batch.seconds=200`, `--config.data.train='("a/train", "b/train")'`.

    seed                of initialisation, partners, order and dropout

    data.root           folder that `train` and `valid` are looked up in; local or gs://
    data.train          `corpus/split` below it, or manifests (.jsonl)
    data.valid          the same, for validation
    data.audio_root     where relative audio paths are looked up that are not beside their manifest; "" = nowhere else
    data.pairing_scope  which clips are compared: of one `reference`, `corpus`, `any`, or `none`
    data.max_seconds    longer clips are cut, at a place drawn anew each epoch
    data.workers        processes that decode; 0 = threads of this one
    data.most_bad       part of the clips that may fail to load before the run stops; one always may
    data.feature_cache  folder for the states of frozen encoders, which are then computed once; "" = each time. Its
                        float16 changes losses in the fourth digit, so a run cannot be resumed with and without; and
                        clips over `max_seconds` are cut at the same place in each epoch

    batch.seconds       audio of a batch over all devices, padding included; of pairs the longer side counts
    batch.clips         rows (clips or pairs) of a batch at most, over all devices
    batch.accumulate    batches an update

    model.encoders      by a name of your own, each with
        pretrained          Hugging Face folder or hub id, also `owner/name@revision`; or
        architecture        `model_type` and sizes, with random weights
        own_length          beside `pretrained`, may be left out: True, and a Whisper encoder attends to the clip alone,
                            which then costs what it is long; False, to its window of 30 s, as in the pretraining. With
                            random weights a key of `architecture`
        layer_aggregation   weighted sum of all hidden states, or the last layer
        freeze              training leaves its weights as they are
        gradient_scale      factor on the gradient into an encoder that is trained
        dtype               float32; bfloat16 halves the memory of a frozen encoder
        noise               dropout, SpecAugment and LayerDrop of its own in training
    model.categories    {category: {metric: range and whether it is compared}}; their order is that of the output
    model.width         features of a frame behind the fusion of the encoders
    model.shared        transformer encoder before the categories: `layers`, `heads`, `feedforward`, `dropout`; or None
    model.category      the same for each category
    model.absolute      heads of scores: `pooling` is mean, attentive or metric_token; `transformer` as above, or None
    model.comparative   the same of comparisons

    mesh.data           devices that share the rows of a batch; -1 = all that `model` leaves
    mesh.model          devices that share attention heads and feed-forwards
    mesh.fully_sharded  parameters and moments are spread over `data` too

    start_from          model folder or hub id whose weights the run starts from (fine-tuning); "" = from the pretrained
                        encoders, or from nothing
    precision           bfloat16 computes in it, with float32 parameters and losses
    remat               compute the layers again in the backward pass instead of keeping their activations: less memory,
                        about a third more time

    loss.criterion      error of scores: squared or huber, which turns linear at `loss.huber_delta`
    loss.absolute, loss.comparative            weights of scores and of comparisons
    loss.regression, loss.classification       weights of the two errors of a comparison
    loss.tie            |difference| up to which, inclusive, a comparison counts as a tie
    loss.mean_over      errors of scores are averaged over the metrics of a category, then over categories, as in the
                        published code; or over all metrics at once, as in the paper

    optimizer.learning_rate     of AdamW, its highest value
    optimizer.schedule          from there to the end of the run: constant, linear to 0, or cosine to 0
    optimizer.warmup_updates    updates of linear warm-up from 0
    optimizer.weight_decay      of all parameters, decoupled, times the learning rate
    optimizer.clip_norm         norm of the whole gradient that it is scaled down to

    epochs              length of the run: so many times the updates of the first epoch
    updates             length of the run in updates, in place of epochs; 0 = by epochs
    validate_every, save_every, log_every      updates between two validations, checkpoints, lines of the log
    keep                checkpoints kept, the newest ones
    best                statistic of validation, `somos/dev/mos_overall/srcc`, whose best checkpoint is kept too and
                        exported at the end; "" = none
"""

from typing import Any

from ml_collections import ConfigDict

from urgentmos_jax.manifests.skipping import MAX_BAD_FRACTION
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.schema import as_json
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS


def base() -> ConfigDict:
    """Every key; encoders, metrics and data are for the run to name."""
    return ConfigDict(
        dict(
            seed=42,
            data=dict(
                root="data",
                train=(),
                valid=(),
                audio_root="",
                pairing_scope="corpus",
                max_seconds=60.0,
                workers=4,
                most_bad=MAX_BAD_FRACTION,
                feature_cache="",
            ),
            batch=dict(seconds=300.0, clips=32, accumulate=1),
            model=dict(
                encoders=dict(),
                categories=dict(),
                width=768,
                shared=None,
                category=dict(layers=6, heads=8, feedforward=2048, dropout=0.1),
                absolute=dict(pooling="mean", transformer=None),
                comparative=dict(pooling="mean", transformer=None),
            ),
            mesh=dict(data=-1, model=1, fully_sharded=False),
            start_from="",
            precision="float32",
            remat=False,
            loss=dict(
                criterion="squared",
                huber_delta=0.5,
                absolute=0.5,
                comparative=0.5,
                regression=0.5,
                classification=0.5,
                tie=0.5,
                mean_over="categories",
            ),
            optimizer=dict(learning_rate=3e-5, schedule="linear", warmup_updates=0, weight_decay=0.01, clip_norm=1.0),
            epochs=100.0,
            updates=0,
            validate_every=1000,
            save_every=1000,
            log_every=50,
            keep=3,
            best="",
        )
    )


def metrics(*names: str, comparative: bool = False) -> dict[str, Any]:
    """Metrics with the ranges of `urgentmos_jax.metrics`."""
    known = {name: CATALOGUE[name] for name in names}
    return {
        name: dict(minimum=float(one.minimum), maximum=float(one.maximum), comparative=comparative)
        for name, one in known.items()
    }


def frozen(
    pretrained: str, *, layer_aggregation: bool = True, dtype: str = "float32", own_length: bool | None = None
) -> dict[str, Any]:
    """A pretrained encoder that is not trained, without dropout of its own.

    `| dict(freeze=False)` trains it; `own_length=True` is for Whisper's.
    """
    stated = {} if own_length is None else dict(own_length=own_length)
    return stated | dict(
        pretrained=pretrained,
        layer_aggregation=layer_aggregation,
        freeze=True,
        gradient_scale=0.1,
        dtype=dtype,
        noise=False,
    )


def whisper(size: str) -> dict[str, Any]:
    """Whisper's encoder with random weights, tiny (8 M parameters) or base (21 M), that hears a clip's own length."""
    architecture = as_json(PUBLISHED_ENCODERS[f"openai/whisper-{size}"]) | dict(own_length=True)
    return dict(
        architecture=architecture,
        layer_aggregation=True,
        freeze=False,
        gradient_scale=1.0,
        dtype="float32",
        noise=False,
    )


def compact(layers: int) -> ConfigDict:
    """A run of a small model from nothing: the compact encoder (0.3 M parameters) and one layer behind it."""
    config = base()
    sizes = dict(
        model_type="compact",
        mel_bins=80,
        hidden_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=192,
        dropout=0.1,
        stride=2,
    )
    config.model.encoders.compact = dict(
        architecture=sizes, layer_aggregation=False, freeze=False, gradient_scale=1.0, dtype="float32", noise=False
    )
    config.model.update(width=96, category=dict(layers=1, heads=4, feedforward=192))
    config.model.absolute.pooling = config.model.comparative.pooling = "attentive"
    config.update(seed=0, epochs=0.0)
    config.data.workers = 0
    config.batch.clips = 16
    config.optimizer.schedule = "cosine"
    return config


def with_corpora(train: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """`data.train` with more corpora, each once."""
    return tuple(dict.fromkeys((*train, *more)))


def by_recipe(config: ConfigDict, recipe: str) -> ConfigDict:
    """A run of the published `code`, as it is, or by the recipe of the `paper` (arXiv 2601.18438 v1).

    Batches of the paper hold about 400 s, whatever the number of clips; 400 of them is one second each. Its four other
    corpora are those that the published configuration leaves out.
    """
    if recipe not in ("code", "paper"):
        raise ValueError(f"the recipe is {recipe!r}, must be one of code, paper")
    if recipe == "paper":
        more = ("bc19/train", "bvcc/train", "urgent2024-sqa/train", "urgent2025-sqa/train")
        config.data.train = with_corpora(config.data.train, *more)
        config.update(updates=20_000, epochs=0.0, batch=dict(seconds=400.0, clips=400))
        config.update(optimizer=dict(schedule="constant"), loss=dict(mean_over="metrics"))
    return config
