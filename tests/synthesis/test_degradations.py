"""eSpeak's speech, its level, and every degradation of it."""

import itertools
import os

import espeakng_loader
import numpy as np
import pytest
from scipy.signal import correlate

from urgentmos_jax.labels.intrusive import estoi, lsd, si_sdr
from urgentmos_jax.synthesis.degradations import DEGRADATIONS, KINDS
from urgentmos_jax.synthesis.espeak import check_voice, synthesize
from urgentmos_jax.synthesis.sentences import SENTENCES
from urgentmos_jax.synthesis.speech_level import active_speech_level

STRENGTHS = [(name, strength) for name, item in DEGRADATIONS.items() for strength in item.strengths]


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    said = [("The baker opens his shop before five.", "en-us+m3"), ("Der Wind dreht am Abend nach Norden.", "de+f2")]
    return [synthesize(*item)[0] for item in said]


@pytest.fixture(scope="module")
def degraded(speech):
    return {
        (name, strength): [
            DEGRADATIONS[name](clean, strength, np.random.default_rng(number), [speech[1 - number]])
            for number, clean in enumerate(speech)
        ]
        for name, strength in STRENGTHS
    }


def noise_ratio_db(clean, noisy):
    """Level of the clean active speech over what was added, in dB."""
    return active_speech_level(clean) - 10 * np.log10(np.mean((noisy.astype(np.float64) - clean) ** 2))


def test_the_same_call_speaks_the_same_samples():
    first = synthesize("A grey cat.", "en-us+f2", rate=160, pitch=40)
    synthesize("Etwas anderes dazwischen.", "de")
    again = synthesize("A grey cat.", "en-us+f2", rate=160, pitch=40)
    assert first[1] == 16000 and first[0].dtype == np.float32 and np.abs(first[0]).max() <= 1
    np.testing.assert_array_equal(first[0], again[0])


def test_rate_pitch_and_voice_are_heard():
    def pitch_hz(waveform):
        likeness = correlate(waveform, waveform, method="fft")[len(waveform) - 1 :]
        return 16000 / (40 + likeness[40:320].argmax())  # 50 to 400 Hz.

    text = "My bicycle squeaks whenever the road is wet."
    slow, fast = (synthesize(text, "en-us", rate=rate)[0] for rate in (120, 240))
    low, high = (synthesize(text, "en-us", pitch=pitch)[0] for pitch in (10, 90))
    assert len(slow) > 1.5 * len(fast)
    assert pitch_hz(high) > 1.3 * pitch_hz(low)
    assert len(synthesize(text, "fr")[0]) != len(synthesize(text, "en-gb")[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "xx"), "'xx'"),
        (("a", "en-us+nobody"), "nobody"),
        (("a", "en-us+"), r"en-us\+"),
        (("", "en-us"), "nothing to say"),
        (("a", "en-us", 20), "rate=20"),
    ],
)
def test_what_cannot_be_spoken_is_refused(arguments, words):
    text, voice, *rate = arguments
    with pytest.raises(ValueError, match=words):
        synthesize(text, voice, **({"rate": rate[0]} if rate else {}))


def test_a_long_path_to_the_voices_works(tmp_path, monkeypatch):
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    os.symlink(espeakng_loader.get_data_path(), folder / "espeak-ng-data")
    expected = synthesize("A grey cat.", "en-us")[0]
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(folder / "espeak-ng-data"))
    np.testing.assert_array_equal(synthesize("A grey cat.", "en-us")[0], expected)


def test_sentences_are_distinct_and_of_known_languages():
    texts = [text for language in SENTENCES.values() for text in language]
    assert len(texts) == len(set(texts)) >= 60
    for language in SENTENCES:
        check_voice(language)


def test_active_level_follows_gain_and_leaves_pauses_out(speech):
    clean = speech[0]
    level = active_speech_level(clean)
    assert active_speech_level(0.01 * clean) == pytest.approx(level - 40, abs=1e-4)
    paused = np.concatenate([np.zeros(4 * len(clean), np.float32), clean])
    assert active_speech_level(paused) == pytest.approx(level, abs=0.05)
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 16000)
    assert active_speech_level(tone) == pytest.approx(-3.01, abs=0.1)
    with pytest.raises(ValueError, match="zeros"):
        active_speech_level(np.zeros(16000))


@pytest.mark.parametrize(("name", "strength"), STRENGTHS)
def test_length_type_and_alignment(speech, degraded, name, strength):
    for clean, result in zip(speech, degraded[name, strength], strict=True):
        assert result.shape == clean.shape and result.dtype == np.float32
        assert np.isfinite(result).all() and not np.array_equal(result, clean)
        assert correlate(result, clean, method="fft").argmax() == len(clean) - 1


@pytest.mark.parametrize(("name", "strength"), [one for one in STRENGTHS if one[0].endswith(("noise", "babble"))])
def test_signal_to_noise_ratio(speech, degraded, name, strength):
    for clean, result in zip(speech, degraded[name, strength], strict=True):
        assert noise_ratio_db(clean, result) == pytest.approx(strength, abs=0.05)


def test_pauses_do_not_change_the_noise(speech):
    paused = np.concatenate([np.zeros(2 * len(speech[0]), np.float32), speech[0]])
    noisy = DEGRADATIONS["white_noise"](paused, 10, np.random.default_rng(0))
    power = np.mean((noisy.astype(np.float64) - paused) ** 2)
    assert 10 * np.log10(power) == pytest.approx(active_speech_level(speech[0]) - 10, abs=0.05)


@pytest.mark.parametrize("q_db", DEGRADATIONS["mnru"].strengths)
def test_mnru_reaches_its_q_and_follows_the_speech(speech, q_db):
    clean = np.tile(np.concatenate([*speech, np.zeros(8000, np.float32)]), 5)
    noise = DEGRADATIONS["mnru"](clean, q_db, np.random.default_rng(0)).astype(np.float64) - clean
    assert 10 * np.log10(np.sum(clean.astype(np.float64) ** 2) / np.sum(noise**2)) == pytest.approx(q_db, abs=0.2)
    assert not noise[clean == 0].any()


@pytest.mark.parametrize(("name", "slope"), [("white_noise", 0), ("pink_noise", -3.01), ("brown_noise", -6.02)])
def test_colour_of_noise(name, slope):
    clean = np.random.default_rng(1).standard_normal(160000).astype(np.float32)
    noise = DEGRADATIONS[name](clean, 0, np.random.default_rng(0)) - clean
    power = np.abs(np.fft.rfft(noise)) ** 2
    edges = (len(power) - 1) * np.array([100, 200, 400, 800, 1600, 3200]) // 8000
    octaves = 10 * np.log10([power[a:b].mean() for a, b in itertools.pairwise(edges)])
    np.testing.assert_allclose(np.diff(octaves), slope, atol=0.7)


def test_filters_pass_and_stop():
    def gain_db(name, cutoff_hz, frequency_hz):
        tone = np.sin(2 * np.pi * frequency_hz * np.arange(32000) / 16000).astype(np.float32)
        result = DEGRADATIONS[name](tone, cutoff_hz, np.random.default_rng(0))[8000:-8000]
        return 10 * np.log10(np.mean(result.astype(np.float64) ** 2) / 0.5)

    assert gain_db("low_pass", 2500, 2500) == pytest.approx(-6.02, abs=0.1)
    assert gain_db("low_pass", 2500, 1250) == pytest.approx(0, abs=0.1) and gain_db("low_pass", 2500, 5000) < -60
    assert gain_db("high_pass", 600, 1200) == pytest.approx(0, abs=0.1) and gain_db("high_pass", 600, 300) < -60
    assert gain_db("telephone", 3400, 1000) == pytest.approx(0, abs=0.1) and gain_db("telephone", 3400, 150) < -40
    assert gain_db("telephone", 3400, 6000) < -60


def test_clipping_limit(speech, degraded):
    for strength in DEGRADATIONS["clipping"].strengths:
        peak = np.abs(degraded["clipping", strength][0]).max()
        assert 20 * np.log10(np.abs(speech[0]).max() / peak) == pytest.approx(strength, abs=0.01)


@pytest.mark.parametrize("t60_s", [0.4, 1.2])
def test_reverberation_decays_as_asked(t60_s):
    impulse = np.zeros(32000, np.float32)
    impulse[0] = 1
    response = DEGRADATIONS["reverberation"](impulse, t60_s, np.random.default_rng(0)).astype(np.float64)
    assert response[0] == pytest.approx(1, abs=1e-5)
    assert np.sum(response[1:] ** 2) == pytest.approx(t60_s / 0.5, rel=1e-3)
    decay_db = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1] / np.sum(response[1:] ** 2))  # Schroeder
    first, last = (int(np.argmax(decay_db < level)) for level in (-5, -35))
    assert 2 * (last - first) / 16000 == pytest.approx(t60_s, rel=0.1)


@pytest.mark.parametrize("name", ["packet_loss_zero", "packet_loss_repeat"])
def test_share_of_lost_packets(name):
    clean = np.random.default_rng(0).standard_normal(200 * 320 - 100).astype(np.float32)  # The last packet is short.
    for strength in DEGRADATIONS[name].strengths:
        result = DEGRADATIONS[name](clean, strength, np.random.default_rng(0))
        changed = [not np.array_equal(result[i : i + 320], clean[i : i + 320]) for i in range(0, len(clean), 320)]
        assert sum(changed) == round(2 * strength)
    assert len(DEGRADATIONS[name](clean[:100], 50, np.random.default_rng(0))) == 100


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_only_the_seed_decides(speech, name):
    def apply(seed):
        strength = DEGRADATIONS[name].strengths[-1]
        before = speech[0].copy()
        result = DEGRADATIONS[name](speech[0], strength, np.random.default_rng(seed), [speech[1]])
        np.testing.assert_array_equal(speech[0], before)  # The input stays as it was.
        return result

    np.testing.assert_array_equal(apply(3), apply(3))
    drawn = DEGRADATIONS[name].kind in ("noise", "babble", "mnru", "reverberation", "packet_loss")
    assert np.array_equal(apply(3), apply(4)) != drawn


@pytest.mark.parametrize("name", [name for name, item in DEGRADATIONS.items() if len(item.strengths) > 1])
def test_stronger_is_worse(speech, degraded, name):
    def along(metric):
        pairs = [zip(degraded[name, strength], speech, strict=True) for strength in DEGRADATIONS[name].strengths]
        return [np.mean([metric(result, clean) for result, clean in pair]) for pair in pairs]

    intelligibility = along(estoi)
    assert all(np.diff(along(si_sdr)) < 0)
    assert all(np.diff(intelligibility) < 0.005) and intelligibility[-1] < intelligibility[0]
    assert all(np.diff(along(lsd)) > 0)


def test_registry():
    assert {item.kind for item in DEGRADATIONS.values()} == set(KINDS)
    assert DEGRADATIONS["white_noise"].system_id(10) == "white_noise-10db"
    ids = [DEGRADATIONS[name].system_id(strength) for name, strength in STRENGTHS]
    assert len(set(ids)) == len(ids) and not set("".join(ids)) & set(" /:\\")


def test_babble_needs_talkers_and_noise_needs_speech(speech):
    with pytest.raises(ValueError, match="talkers"):
        DEGRADATIONS["babble"](speech[0], 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="zeros"):
        DEGRADATIONS["white_noise"](np.zeros(16000, np.float32), 10, np.random.default_rng(0))
