"""Scores and gradients of torch waveforms against those of jax, and the tools of a torch training, as they are."""

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.helpers.corpus import speech_like
from tests.helpers.models import OWN_LENGTH, on_one_device, random_module
from urgentmos_jax.interop.shared import SharedModel
from urgentmos_jax.interop.torch import Scorer
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import save_folder

pytestmark = pytest.mark.torch
TOLERANCE = 1e-4
LENGTHS = (7000, 5200, 7000)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def model() -> Model:
    return on_one_device(random_module("compact"))


@pytest.fixture(scope="module")
def scorer(model) -> Scorer:
    """What it has compiled serves several tests."""
    return Scorer(model)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "compact"
    save_folder(path, nnx.merge(model.engine.graph, model.params), {})
    return path


@pytest.fixture
def loaded(model, folder, monkeypatch) -> Path:
    """A folder whose model is there already, on one device."""
    monkeypatch.setattr("urgentmos_jax.interop.shared._loaded", {str(folder): model}.__getitem__)
    return folder


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    waveform = np.stack([speech_like(seed, max(LENGTHS)) for seed in range(len(LENGTHS))])
    waveform[1, LENGTHS[1] :] = 0.1
    return waveform


def weighted(scores):
    """One number of all scores, each with a gradient of its own."""
    return sum((number + 1) * (scores[name] ** 2).sum() for number, name in enumerate(sorted(scores)))


@pytest.mark.parametrize("kind", ["compact", "whisper" + OWN_LENGTH, "layer"])
def test_scores_and_gradients_are_those_of_jax(kind, model, scorer, batch, torch):
    model = model if kind == "compact" else on_one_device(random_module(kind))
    lengths = jnp.array(LENGTHS, jnp.int32)
    value = jax.jit(lambda x: model.apply(x, lengths))(batch)
    wanted = np.asarray(jax.jit(jax.grad(lambda x: weighted(model.apply(x, lengths))))(batch))

    waveform = torch.from_numpy(batch).requires_grad_()
    scores = (scorer if kind == "compact" else Scorer(model))(waveform, torch.tensor(LENGTHS))
    weighted(scores).backward()
    assert list(scores) == list(model.metrics)
    for name, score in scores.items():
        np.testing.assert_allclose(score.detach(), value[name], atol=TOLERANCE)
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(waveform.grad, wanted, rtol=TOLERANCE, atol=TOLERANCE * np.abs(wanted).max())
    assert not waveform.grad[1, LENGTHS[1] :].any(), "padding has no influence"


def test_the_gradient_agrees_with_finite_differences(scorer, batch, torch):
    """In float32, along the gradient, where a difference is largest."""
    waveform, lengths = torch.from_numpy(batch).requires_grad_(), torch.tensor(LENGTHS)
    (gradient,) = torch.autograd.grad(scorer(waveform, lengths)["mos_overall"].sum(), waveform)
    step = 5e-4 * gradient / gradient.norm()
    with torch.no_grad():
        above, below = (scorer(waveform + sign * step, lengths)["mos_overall"].sum().item() for sign in (1, -1))
    assert (above - below) / 1e-3 == pytest.approx(gradient.norm().item(), rel=0.02)


def test_a_network_learns_by_the_score(scorer, batch, torch):
    """One gain for each sample raises the score; and a step through the gradient of another type of float."""
    gain = torch.nn.Parameter(torch.ones(max(LENGTHS), dtype=torch.float64))
    optimizer = torch.optim.Adam([gain], lr=1e-2)
    clips, values = torch.from_numpy(batch).double(), []
    for _ in range(5):
        loss = -scorer(gain * clips, torch.tensor(LENGTHS))["mos_overall"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert gain.grad.dtype == torch.float64 and values[-1] < values[0]


def test_what_is_overwritten_before_the_backward_pass_does_not_count(model, scorer, torch):
    """At a length of a bucket there is no padding, and so no copy on the way."""
    samples = model.engine.bucket_sizes[0]
    clip = torch.from_numpy(np.stack([speech_like(seed, samples) for seed in range(len(LENGTHS))]))
    kept = clip.clone().requires_grad_()
    weighted(scorer(kept)).backward()
    spoilt = clip.clone().requires_grad_()
    value = weighted(scorer(spoilt))
    with torch.no_grad():
        spoilt.zero_()
    value.backward()
    assert torch.equal(spoilt.grad, kept.grad)


def test_one_waveform_and_no_gradient(model, scorer, batch, torch):
    clip = torch.from_numpy(batch[0])
    scores = scorer(clip)
    (row,) = model.score([batch[0]], sample_rate=16000)
    assert {name: score.item() for name, score in scores.items()} == pytest.approx(row["scores"], abs=TOLERANCE)
    assert not any(score.requires_grad for score in scores.values())


def test_what_cannot_be_scored_is_refused(model, scorer, torch):
    second = torch.zeros(2, 16000)
    for waveform, lengths, text in (
        (torch.zeros(2, 1, 8000), None, r"expected floats \[B, T\]"),
        (torch.zeros(2, 8000, dtype=torch.int16), None, "expected floats"),
        (torch.zeros(2, 300), None, "rows of 300 to 300 samples: the model takes 400"),
        (torch.zeros(1, 61 * 16000), None, "the model takes 400 to 960000 at once"),
        (second, torch.tensor([16000, 16001]), "no more than the 16000"),
        (second, torch.tensor([16000]), "one for each of 2"),
        (second, torch.tensor([1.0, 2.0]), "expected integers"),
    ):
        with pytest.raises(ValueError, match=text):
            scorer(waveform, lengths)
    with pytest.raises(ValueError, match=r"\['loudness'\] are not among"):
        Scorer(model, metrics=["loudness"])(second)


def test_a_model_goes_to_other_processes_by_name(model, folder):
    shared = SharedModel(folder)
    sent = pickle.loads(pickle.dumps(shared))
    assert sent.model is shared.model and copy.deepcopy(shared).model is shared.model
    assert pickle.loads(pickle.dumps(SharedModel(load_model(folder)))).model is shared.model
    with pytest.raises(TypeError, match="give a folder or a hub id"):
        pickle.dumps(SharedModel(model))


def test_a_metric_of_torchmetrics(model, loaded, batch, torch):
    torchmetrics = pytest.importorskip("torchmetrics")
    from urgentmos_jax.interop.torchmetrics import SpeechQuality

    clips = [batch[0], batch[1, : LENGTHS[1]], batch[2]]
    rows = model.score(clips, sample_rate=16000)
    metric = SpeechQuality(loaded, 16000, metrics=["mos_overall", "sdr"])
    metric.update(torch.from_numpy(batch[:2]), torch.tensor(LENGTHS[:2]))
    last = metric(torch.from_numpy(batch[2:]))
    assert last["mos_overall"].item() == pytest.approx(rows[2]["scores"]["mos_overall"], abs=TOLERANCE)
    with pytest.warns(UserWarning, match="left out: too_short"):
        metric.update(torch.zeros(1, 10))
    found = pickle.loads(pickle.dumps(metric)).compute()
    for name in ("mos_overall", "sdr"):
        mean = np.mean([row["scores"][name] for row in rows])
        assert found[name].item() == pytest.approx(mean, abs=TOLERANCE)
    metric.reset()
    with pytest.warns(UserWarning, match="before"):
        assert metric.compute()["sdr"].isnan()
    together = torchmetrics.MetricCollection({"quality": metric}).clone(prefix="val/")
    together.update(torch.from_numpy(batch[:1]))
    assert "val/mos_overall" in together.compute()


def test_a_callback_of_lightning(model, batch, torch, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from tensorboardX import SummaryWriter

    from urgentmos_jax.interop.lightning import ScoreAudio

    class Network(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def training_step(self, clips, _):
            return (self.gain * clips).square().mean()

        def validation_step(self, clips, _):
            return {"audio": self.gain.detach() * clips + 0.1, "lengths": [max(LENGTHS)] * len(clips)}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    class Logger(lightning.loggers.logger.Logger):
        name, version = "test", 0
        experiment = SummaryWriter(str(tmp_path / "log"))
        log_metrics = log_hyperparams = lambda *_, **__: None

    clips = torch.utils.data.DataLoader(torch.from_numpy(batch), batch_size=2)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=Logger(),
        callbacks=[ScoreAudio(model, 16000)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Network(), clips, clips)
    rows = model.score(list(0.5 * batch + np.float32(0.1)), sample_rate=16000)
    mean = np.mean([row["scores"]["mos_overall"] for row in rows])
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["urgentmos/mos_overall"] == pytest.approx(mean, abs=TOLERANCE) and logged["urgentmos/failed"] == 0
    Logger.experiment.close()
    written = b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())
    assert b"urgentmos/worst" in written and b"urgentmos/clips/mos_overall" in written

    callback, logged = ScoreAudio(model, 16000, metrics=["mos_overall"]), {}
    callback.scores.add(torch.zeros(1, 10))
    module = SimpleNamespace(logger=None, log_dict=lambda found, **_: logged.update(found))
    callback.on_validation_epoch_end(trainer, module)
    assert logged["urgentmos/failed"] == 1 and np.isnan(logged["urgentmos/mos_overall"])
    with pytest.raises(ValueError, match="give audio_of"):
        ScoreAudio(model, 16000).on_validation_batch_end(trainer, None, torch.tensor(1.0), None, 0)


def test_cuts_of_lhotse(model, loaded, batch, tmp_path):
    lhotse = pytest.importorskip("lhotse")
    import soundfile

    from urgentmos_jax.interop.lhotse import annotate

    for number, clip in enumerate(batch):
        soundfile.write(tmp_path / f"{number}.wav", clip, 16000, subtype="FLOAT")
    recordings = lhotse.RecordingSet.from_recordings(
        lhotse.Recording.from_file(tmp_path / f"{number}.wav") for number in range(len(batch))
    )
    wanted = model.score([tmp_path / f"{number}.wav" for number in range(len(batch))])
    scored = lhotse.CutSet.from_cuts(annotate(recordings, loaded))
    for cut, row in zip(scored, wanted, strict=True):
        assert cut.custom == pytest.approx(row["scores"], abs=TOLERANCE)

    part = scored[0].truncate(offset=0.1, duration=0.2).with_custom("speaker", "a")
    lost = scored[1]
    (tmp_path / "1.wav").write_bytes(b"")
    first, second = annotate(lhotse.CutSet.from_cuts([part, lost]), loaded, metrics=["mos_overall"])
    (row,) = model.score([batch[0, 1600:4800]], sample_rate=16000)
    assert first.custom["mos_overall"] == pytest.approx(row["scores"]["mos_overall"], abs=TOLERANCE)
    assert first.custom["speaker"] == "a" and "score_error" not in first.custom
    assert second.custom["score_error"].startswith("unreadable_input") and "mos_overall" not in second.custom
    assert "mos_overall" in scored[1].custom, "the cut that came in is as it was"
    assert "score_error" not in next(annotate([scored[0].with_custom("score_error", "x")], loaded)).custom
    with pytest.raises(ValueError, match="mixed cuts hold no scores"):
        list(annotate([scored[0].append(scored[2])], loaded))
