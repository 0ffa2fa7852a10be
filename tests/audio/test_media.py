"""What FFmpeg reads: MP4, WebM, AAC, the sound of videos, with the errors of all other files."""

import numpy as np
import pytest

from urgentmos_jax.audio.loading import AudioError, load_audio, probe
from urgentmos_jax.audio.recordings import Recording
from urgentmos_jax.manifests.lists import find_recordings

av = pytest.importorskip("av")


def write(path, codec, rate_hz, seconds=2.0, video=False, **options):
    """A tone, with frames of a video where that is asked for."""
    with av.open(str(path), "w", options=options) as file:
        sound = file.add_stream(codec, rate=rate_hz, layout="stereo")
        pictures = file.add_stream("mpeg4", rate=10) if video else None
        if pictures:
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
        tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.tile(tone, (2, 1)), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate_hz, 0
        for part in (frame, None):
            file.mux(sound.encode(part))
        if pictures:
            for number in range(int(10 * seconds) + 10):  # Longer than its sound.
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                picture.pts = number
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
    return path


def code(source):
    with pytest.raises(AudioError) as caught:
        load_audio(source)
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "options"),
    [
        ("a.m4a", "aac", 16000, {}),
        ("a.mp4", "aac", 44100, {"movflags": "faststart"}),
        ("video.mp4", "aac", 48000, {"video": True}),
        ("video.mkv", "aac", 16000, {"video": True}),
        ("a.webm", "libopus", 48000, {}),
        ("a.aac", "aac", 22050, {}),
        ("video.avi", "libmp3lame", 44100, {"video": True}),
    ],
)
def test_a_tone_in_every_container(tmp_path, name, codec, rate_hz, options):
    path = write(tmp_path / name, codec, rate_hz, **options)
    clip = load_audio(path)
    assert clip.sample_rate_hz == rate_hz and clip.duration_s == pytest.approx(2.0, abs=0.15) and clip.flags == ()
    spectrum = np.abs(np.fft.rfft(clip.waveform[4000:20000]))
    assert np.argmax(spectrum) == 440 and np.abs(clip.waveform[4000:20000]).max() == pytest.approx(0.3, abs=0.03)
    assert probe(path) == pytest.approx(clip.duration_s, abs=0.15)
    assert find_recordings(tmp_path) == [path]
    part = load_audio(Recording("part", str(path), 0.5, 1.0))
    assert np.corrcoef(part.waveform, clip.waveform[8000:24000])[0, 1] > 0.999
    # What is lost of it is told, whatever it has of its length.
    whole = path.read_bytes()
    for fraction in (0.2, 0.5, 0.9):
        path.write_bytes(whole[: int(fraction * len(whole))])
        assert code(path) == "truncated"


def test_what_is_no_sound(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    assert code(path) == "undecodable"
    path.write_bytes(b"\0\0\0\x14ftypM4A " + bytes(500))
    assert code(path) == "undecodable"
    # A list of other files, which FFmpeg would open.
    path.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    assert code(path) == "undecodable"
