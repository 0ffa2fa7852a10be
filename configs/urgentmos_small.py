"""urgentmos-small: Whisper tiny, fine-tuned at the clip's own length, eight metrics of degraded speech.

    python -m launch.release --workdir DIR ...

makes the speech, labels it and trains this. Labels are those of predictors (Distill-MOS, DNSMOS) and of metrics against
the clean speech, all mapped to 1 to 5 in training, so that none outweighs the others; the ranges of the released model
undo that. Comparisons are by Distill-MOS. Of a clip 3.2 s are heard, at another place in each epoch, with the label of
the whole: an update then costs little more than half, and one shape of batches is compiled.
"""

from ml_collections import ConfigDict

from configs import common

# Of the released model; training sees each of these mapped to 1 to 5.
RANGES = {
    "distill_mos": (1.0, 5.0),
    "dnsmos_ovrl": (1.0, 5.0),
    "dnsmos_sig": (1.0, 5.0),
    "dnsmos_bak": (1.0, 5.0),
    "dnsmos_p808": (1.0, 5.0),
    "pesq": (1.0, 4.65),
    "estoi": (0.0, 1.0),
    "si_sdr": (-30.0, 50.0),
}
COMPARED = "distill_mos"


def get_config() -> ConfigDict:
    """The run."""
    config = common.base()
    whisper = common.frozen("openai/whisper-tiny.en", own_length=True)
    config.model.encoders.whisper = whisper | dict(freeze=False, gradient_scale=1.0)
    scales = {name: dict(minimum=1.0, maximum=5.0, comparative=name == COMPARED) for name in RANGES}
    config.model.update(
        width=192, category=dict(layers=1, heads=4, feedforward=768, dropout=0.1), categories=dict(quality=scales)
    )
    config.model.absolute.pooling = config.model.comparative.pooling = "attentive"
    config.update(
        seed=0,
        data=dict(train=("train",), valid=("dev",), pairing_scope="corpus", max_seconds=3.2, workers=0),
        batch=dict(seconds=128.0, clips=40),
        loss=dict(criterion="huber", absolute=0.7, comparative=0.3, tie=0.1),
        optimizer=dict(learning_rate=3e-4, schedule="cosine", warmup_updates=50, weight_decay=0.02),
        epochs=5.0,
        validate_every=1000,
        save_every=40,
        log_every=10,
        keep=2,
    )
    return config
