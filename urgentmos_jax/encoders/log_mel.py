"""Log-mel spectrograms in jax: inside jit, differentiable, the same for a clip in any batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from urgentmos_jax.nn.masking import length_mask

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160


def log_mel(waveform: jax.Array, bins: int) -> jax.Array:
    """Log-mel frames without padding at the ends, so that frame l depends on samples 160 l .. 160 l + 399 alone.

    Of [B, T] float32, 16 kHz, T >= 400, gives [B, L, bins] float32, L = (T - 400) // 160 + 1, for bins between 0 and
    8 kHz: (log10(power) + 4) / 4, power at least 1e-10.
    """
    return (_log_power(waveform, bins) + 4) / 4


def whisper_log_mel(waveform: jax.Array, lengths: jax.Array, bins: int) -> jax.Array:
    """Whisper's log-mel frames (transformers' `WhisperFeatureExtractor`) of each clip as if it were alone.

    Frame l is centred at sample 160 l; the signal is mirrored at its first and last sample, and values more than 80 dB
    below the clip's loudest are raised to that.

    Args:
        waveform: [B, T] float32, 16 kHz; what lies beyond a clip's length has no influence.
        lengths: [B] samples, at least 201; a clip counts as long as its zero padding is meant to be heard.
        bins: Mel bins between 0 and 8 kHz.

    Returns:
        [B, T // 160, bins] float32; the first `lengths // 160` frames are valid, the others meaningless.
    """
    half = WINDOW_SAMPLES // 2
    last = lengths[:, None] - 1
    index = jnp.abs(jnp.arange(-half, waveform.shape[1] + half))
    index = jnp.where(index > last, 2 * last - index, index)
    mirrored = jnp.take_along_axis(waveform, jnp.maximum(index, 0), axis=1)
    power = _log_power(mirrored, bins)[:, : waveform.shape[1] // HOP_SAMPLES]
    valid = length_mask(lengths // HOP_SAMPLES, power.shape[1])[..., None]
    loudest = jnp.max(power, axis=(1, 2), keepdims=True, where=valid, initial=-10.0)
    return (jnp.maximum(power, loudest - 8) + 4) / 4


def _log_power(waveform: jax.Array, bins: int) -> jax.Array:
    """[B, T] -> [B, (T - 400) // 160 + 1, bins], log10 of the power, which is at least 1e-10."""
    frames = (waveform.shape[1] - WINDOW_SAMPLES) // HOP_SAMPLES + 1
    # A window of 400 is five blocks of 80, a hop is two: frames are strided slices of the blocks, no gather needed.
    blocks = waveform[:, : HOP_SAMPLES * frames + 240].reshape(waveform.shape[0], -1, 80)
    parts = [blocks[:, i : i + 2 * frames - 1 : 2] for i in range(5)]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    spectrum = jnp.fft.rfft(jnp.concatenate(parts, -1) * window, axis=-1)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return jnp.log10(jnp.maximum(jnp.matmul(power, mel_matrix(bins), precision="highest"), 1e-10))


@functools.cache
def mel_matrix(bins: int) -> np.ndarray:
    """Triangles on Slaney's mel scale up to 8 kHz, each of unit area in Hz: [201, bins] float32."""
    # Slaney's scale: linear up to 1 kHz with 200/3 Hz a mel, then logarithmic with 27 steps a factor of 6.4.
    step = np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(8) / step, bins + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    line_hz = np.linspace(0, 8000, WINDOW_SAMPLES // 2 + 1)[:, None]
    low, centre, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising, falling = (line_hz - low) / (centre - low), (high - line_hz) / (high - centre)
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)).astype(np.float32)
