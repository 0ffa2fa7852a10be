"""Codecs of telephones, broadcasts and headsets, by the command `ffmpeg`; see `degradations`."""

import subprocess
from dataclasses import dataclass
from functools import partial

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.synthesis.degradations import Degradation, shifted, without_delay
from urgentmos_jax.synthesis.speech_level import nominal_gain

_TIMEOUT_S = 60
_CODEC2_DELAY = 310  # Where envelopes, and ESTOI, agree best on five clips at each rate, within 30 samples.


@dataclass(frozen=True)
class Codec:
    """How ffmpeg encodes and decodes.

    Attributes:
        encoder, container: Names that ffmpeg knows.
        demuxer: What ffmpeg calls the container when it reads it, where that is another name.
        rate_hz: Sample rate at which it codes.
        encode, decode: Options, with {kbps}, {bps} or {bits} (a sample) in place of the strength.
        delay: In samples at 16 kHz, where waveforms are not kept and no correlation finds it.
    """

    encoder: str
    container: str
    rate_hz: int = SAMPLE_RATE_HZ
    encode: str = ""
    decode: str = ""
    delay: int | None = None
    demuxer: str | None = None


def ffmpeg_codec(waveform: np.ndarray, kbps: float, rng: np.random.Generator, codec: Codec) -> np.ndarray:
    """Encodes and decodes [T] at a rate in kbit/s, at -26 dB active speech level, and removes the codec's delay.

    Raises:
        RuntimeError: ffmpeg is not installed, lacks the encoder, or fails.
    """
    gain = nominal_gain(waveform)
    values = {"kbps": f"{kbps:g}", "bps": f"{1000 * kbps:g}", "bits": f"{1000 * kbps / codec.rate_hz:g}"}
    samples = ["-f", "f32le", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1"]
    encode = ["-ar", str(codec.rate_hz), "-c:a", codec.encoder, *codec.encode.format(**values).split()]
    padded = np.pad(waveform * gain, (0, SAMPLE_RATE_HZ // 4)).astype("<f4")
    coded = _ffmpeg(padded.tobytes(), samples, [*encode, "-f", codec.container, "-flags", "+bitexact"])
    decode = ["-f", codec.demuxer or codec.container, *codec.decode.format(**values).split()]
    decoded = np.frombuffer(_ffmpeg(coded, decode, samples), "<f4")
    if not len(decoded):
        raise RuntimeError(f"ffmpeg decoded nothing of {codec.encoder} at {kbps:g} kbit/s")
    if codec.delay is None:
        return without_delay(decoded, waveform) / gain
    return shifted(decoded, codec.delay, len(waveform)) / gain


def _ffmpeg(data: bytes, before: list[str], after: list[str]) -> bytes:
    """Runs ffmpeg with one thread from standard input to standard output."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", *before, "-i", "pipe:0", "-threads", "1"]
    try:
        done = subprocess.run([*command, *after, "pipe:1"], input=data, capture_output=True, timeout=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise RuntimeError("codecs need the command ffmpeg, which is not installed; apt install ffmpeg") from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        hint = "; install a build of ffmpeg that has this encoder" if "Unknown encoder" in text else ""
        raise RuntimeError(f"ffmpeg {' '.join(after)}: {text}{hint}")
    return done.stdout


_RATE = "-b:a {kbps}k"
_VOICE = "-application voip -b:a {kbps}k"
_EIGHT_KHZ = "-ar 8000"
_TABLE = (
    ("mp3_lame", Codec("libmp3lame", "mp3", encode=_RATE), (48, 32, 24, 16, 8)),
    ("aac", Codec("aac", "adts", encode=_RATE, demuxer="aac"), (48, 32, 24, 16)),
    ("mp2", Codec("mp2", "mp2", encode=_RATE, demuxer="mp3"), (64, 48, 32, 24)),
    ("opus_wideband", Codec("libopus", "ogg", encode=_VOICE), (24, 16, 12, 9)),
    ("opus_narrowband", Codec("libopus", "ogg", 8000, _VOICE), (16, 10, 8, 6)),
    ("opus_music", Codec("libopus", "ogg", encode="-application audio -b:a {kbps}k"), (32, 20, 14, 8)),
    ("vorbis_ogg", Codec("libvorbis", "ogg", encode=_RATE), (48, 40, 32, 24)),
    ("wma", Codec("wmav2", "asf", encode=_RATE), (32, 24)),
    ("speex_wideband", Codec("libspeex", "ogg", encode=_RATE), (28, 20, 12, 6)),
    ("speex_narrowband", Codec("libspeex", "ogg", 8000, _RATE), (18, 11, 8, 4)),
    ("gsm", Codec("libgsm", "gsm", 8000, decode=_EIGHT_KHZ), (13,)),
    ("g711_mulaw", Codec("pcm_mulaw", "mulaw", 8000, decode=_EIGHT_KHZ), (64,)),
    ("g711_alaw", Codec("pcm_alaw", "alaw", 8000, decode=_EIGHT_KHZ), (64,)),
    ("g722", Codec("g722", "g722"), (64,)),
    ("g723_1", Codec("g723_1", "g723_1", 8000, "-b:a 6300"), (6.3,)),
    ("g726", Codec("g726", "g726", 8000, "-code_size {bits}", "-ar 8000 -code_size {bits}"), (40, 32, 24, 16)),
    ("adpcm_ima", Codec("adpcm_ima_wav", "wav"), (64,)),
    ("adpcm_ima_8khz", Codec("adpcm_ima_wav", "wav", 8000), (32,)),
    ("sbc", Codec("sbc", "sbc", encode="-b:a {bps}"), (64, 48, 32, 24)),
    ("nellymoser", Codec("nellymoser", "flv", 8000, _RATE), (16,)),
    ("codec2", Codec("libcodec2", "codec2", 8000, "-mode {bps}", delay=_CODEC2_DELAY), (3.2, 2.4, 1.6, 1.2)),
)
CODECS = tuple(
    Degradation(name, "codec", partial(ffmpeg_codec, codec=codec), strengths, "kbps")
    for name, codec, strengths in _TABLE
)
