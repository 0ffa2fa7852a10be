"""F1C1M5, pairs by corpus: one encoder, one category, five metrics (UrgentMOS, arXiv 2601.18438).

The published recipe; its weights are urgent-challenge/urgent-mos-f1c1m5dcorpus. The paper states a constant learning
rate, the published configuration lets it fall linearly to 0: this one follows the configuration. The published batch is
300 s and at most 32 clips a GPU: with N of them set --config.batch.seconds to N times 300, and clips to N times 32.

    python -m launch.train --config configs/f1c1m5_d_corpus.py --workdir runs/f1c1m5_d_corpus --export my_model

`urgentmos prepare CORPUS --side-files META` makes the data: mos_overall is the corpora's own; scoreq, utmos, nisqa_mos
and distill_mos are scores of models that judge without a reference, from the authors' side files (META, the hub dataset
urgent-challenge/vmc2026-track1-meta). Validation uses dev splits; the published configuration used two test splits.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The run."""
    one_to_five = dict(minimum=1.0, maximum=5.0)
    return ConfigDict(
        dict(
            seed=42,
            data=dict(
                root="data",
                train=(  # Besides what is said of a corpus, the four metrics of the side files.
                    "nisqa/train",  # mos_overall, means; noisiness, coloration, ... are there and not learnt
                    "pstn/train",  # mos_overall, means
                    "somos/train",  # mos_overall, ratings
                    "speecheval/train",  # preferences of pairs
                    "speechjudge/train",  # preferences of pairs
                    "tcd-voip/train",  # mos_overall, ratings
                    "tencent/train",  # mos_overall, means
                    "tmhint-qi/train",  # mos_overall, ratings
                    "ttsds2/train",  # mos_overall, ratings
                ),
                valid=("somos/dev", "speechjudge/dev"),
                audio_root="",
                pairing_scope="corpus",
                max_seconds=60.0,
                workers=4,
                most_bad=0.01,
                feature_cache="",
            ),
            batch=dict(seconds=300.0, clips=32, accumulate=1),
            model=dict(
                encoders=dict(
                    wavlm=dict(
                        pretrained="microsoft/wavlm-base-plus",
                        layer_aggregation=True,
                        freeze=True,
                        gradient_scale=0.1,
                        dtype="float32",
                        noise=False,
                    ),
                ),
                categories=dict(
                    mos=dict(
                        mos_overall=dict(**one_to_five, comparative=True),
                        scoreq=dict(**one_to_five, comparative=False),
                        utmos=dict(**one_to_five, comparative=False),
                        nisqa_mos=dict(**one_to_five, comparative=False),
                        distill_mos=dict(**one_to_five, comparative=False),
                    ),
                ),
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
