"""A small model from nothing: the compact encoder (0.3 M parameters), one metric, an hour of speech or less.

For a corpus of one's own and for trying things out on a laptop.

    urgentmos prepare custom --source ratings.csv --output data/mine/train ...
    python -m launch.train --config configs/compact.py --config.data.train='("mine/train",)' --workdir runs/mine
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The run."""
    return ConfigDict(
        dict(
            seed=0,
            data=dict(
                root="data",
                train=("mine/train",),
                valid=("mine/dev",),
                audio_root="",
                pairing_scope="corpus",
                max_seconds=20.0,
                workers=0,
                most_bad=0.01,
                feature_cache="",
            ),
            batch=dict(seconds=60.0, clips=16, accumulate=1),
            model=dict(
                encoders=dict(
                    compact=dict(
                        architecture=dict(
                            model_type="compact",
                            mel_bins=80,
                            hidden_size=96,
                            num_hidden_layers=2,
                            num_attention_heads=4,
                            intermediate_size=192,
                            dropout=0.1,
                        ),
                        layer_aggregation=False,
                        freeze=False,
                        gradient_scale=1.0,
                        dtype="float32",
                        noise=False,
                    ),
                ),
                categories=dict(quality=dict(mos_overall=dict(minimum=1.0, maximum=5.0, comparative=True))),
                width=96,
                shared=None,
                category=dict(layers=1, heads=4, feedforward=192, dropout=0.1),
                absolute=dict(pooling="attentive", transformer=None),
                comparative=dict(pooling="attentive", transformer=None),
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
            ),
            optimizer=dict(learning_rate=1e-3, schedule="cosine", warmup_updates=20, weight_decay=0.01, clip_norm=1.0),
            epochs=0.0,
            updates=400,
            validate_every=400,
            save_every=200,
            log_every=20,
            keep=2,
            best="",
        )
    )
