"""The demo: the compact encoder from nothing, on generated speech with objective labels (`python -m launch.demo`).

Labels are ESTOI, SI-SDR and PESQ against the clean speech, a fifth of them withheld. SI-SDR is in dB, so the Huber loss
keeps its errors from outweighing the others; comparisons are by ESTOI, where 0.05 counts as a tie. The model predicts
these metrics without the clean speech; it has never met a listener's opinion.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The run."""
    return ConfigDict(
        dict(
            seed=0,
            data=dict(
                root="data",
                train=("train",),
                valid=(),
                audio_root="",
                pairing_scope="reference",
                max_seconds=5.0,
                workers=0,
                most_bad=0.01,
                feature_cache="",
            ),
            batch=dict(seconds=56.0, clips=16, accumulate=1),
            model=dict(
                encoders=dict(
                    compact=dict(
                        architecture=dict(
                            model_type="compact",
                            mel_bins=80,
                            hidden_size=96,
                            num_hidden_layers=1,
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
                categories=dict(
                    quality=dict(
                        estoi=dict(minimum=0.0, maximum=1.0, comparative=True),
                        si_sdr=dict(minimum=-30.0, maximum=50.0, comparative=False),
                        pesq=dict(minimum=1.0, maximum=4.5, comparative=False),
                    ),
                ),
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
                criterion="huber",
                huber_delta=0.5,
                absolute=0.5,
                comparative=0.5,
                regression=0.5,
                classification=0.5,
                tie=0.05,
            ),
            optimizer=dict(learning_rate=2e-3, schedule="cosine", warmup_updates=30, weight_decay=0.01, clip_norm=1.0),
            epochs=0.0,
            updates=440,
            validate_every=440,
            save_every=220,
            log_every=25,
            keep=1,
            best="",
        )
    )
