"""Lines of lists: own ones, cuts and recordings of Lhotse, lines of NeMo; each names a recording or a part of one."""

import math
from typing import Any, NamedTuple

from urgentmos_jax.manifests.lines import shown

_KEYS = ("audio_path", "path", "audio_filepath")


class Listed(NamedTuple):
    """What a line names.

    Attributes:
        uid: Its name.
        audio: Path as the list has it.
        start_s, duration_s, channels: As those of `audio.recordings.Recording`.
    """

    uid: str
    audio: str
    start_s: float = 0.0
    duration_s: float | None = None
    channels: tuple[int, ...] | None = None

    @property
    def fragment(self) -> str:
        """What follows the path where this is a part of the recording, as W3C Media Fragments write it."""
        told = [f"channel={number}" for number in self.channels or ()]
        if self.start_s or self.duration_s is not None:
            end = "" if self.duration_s is None else f",{_decimals(self.start_s + self.duration_s)}"
            told.insert(0, f"t={_decimals(self.start_s)}{end}")
        return f"#{'&'.join(told)}" if told else ""


def listed(entry: dict[str, Any]) -> Listed | str:
    """What a line of JSON, or a row of a table, names; or what is wrong with it."""
    audio = next((entry[key] for key in _KEYS if entry.get(key)), None)
    if audio is None and "tracks" in entry:
        return "a MixedCut of Lhotse, which is mixed as it is read; save its audio and list that"
    if audio is None and isinstance(entry.get("recording"), dict):
        return _of_cut(entry)
    if audio is None and "sources" in entry:
        return _of_sources(entry, str(entry.get("id") or ""), 0.0, None, None)
    if not isinstance(audio, str):
        return "no audio_path (a string)"
    uid = entry.get("uid")
    part = Listed("", audio)
    if "audio_filepath" in entry and entry.get("offset") is not None:  # Else the duration is that of the file.
        start_s, duration_s = entry["offset"], entry.get("duration")
        if not _is_seconds(start_s) or not (duration_s is None or _is_seconds(duration_s, above_zero=True)):
            return f"offset {shown(start_s)} and duration {shown(duration_s)} are not seconds"
        part = Listed("", audio, float(start_s), None if duration_s is None else float(duration_s))
    return part._replace(uid=audio + part.fragment if uid in (None, "") else str(uid))


def _of_cut(entry: dict[str, Any]) -> Listed | str:
    recording, start_s, duration_s = entry["recording"], entry.get("start", 0.0), entry.get("duration")
    if not _is_seconds(start_s) or not _is_seconds(duration_s, above_zero=True):
        return f"start {shown(start_s)} and duration {shown(duration_s)} are not seconds"
    channels = entry.get("channel")
    if channels is not None:
        channels = channels if isinstance(channels, list) else [channels]
        if not channels or not all(isinstance(one, int) and one >= 0 for one in channels):
            return f"channel {shown(entry['channel'])} is not a number, or a list of them"
    whole = recording.get("duration")
    if not start_s and _is_seconds(whole) and abs(whole - duration_s) < 1e-4:
        duration_s = None
    return _of_sources(recording, str(entry.get("id") or ""), float(start_s), duration_s, channels)


def _of_sources(
    recording: dict[str, Any], uid: str, start_s: float, duration_s: float | None, channels: list[int] | None
) -> Listed | str:
    """Of a recording of Lhotse: the file that has these channels of it."""
    if recording.get("transforms"):
        return "its recording has transforms, which are not made; save the audio and list that"
    sources = recording.get("sources")
    if not isinstance(sources, list) or not sources or not all(isinstance(one, dict) for one in sources):
        return "its recording has no sources"
    held = [one for one in sources if set(channels or ()) <= set(one.get("channels") or (0,))]
    if len(sources) > 1 and (channels is None or len(held) != 1):
        return "its channels lie in several files; save the audio and list that"
    if not held:
        return f"channel {channels} is not among those of its recording"
    audio, kind, numbers = held[0].get("source"), held[0].get("type"), held[0].get("channels") or [0]
    if kind == "command":
        return f"{shown(audio)} is a command, and commands are not run; write its audio to a file and list that"
    if kind not in ("file", "url") or not isinstance(audio, str) or not audio:
        return f"its recording is of the type {shown(kind)}, which is not read; save the audio and list that"
    audio = audio.removeprefix("file://")
    if "://" in audio:
        return f"{audio!r} is not on this machine; download it and list that"
    chosen = None if channels is None or len(numbers) == 1 else tuple(numbers.index(one) for one in channels)
    if chosen == tuple(range(len(numbers))):
        chosen = None
    part = Listed("", audio, start_s, duration_s, chosen)
    return part._replace(uid=uid or audio + part.fragment)


def _is_seconds(value: Any, *, above_zero: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and (value > 0 if above_zero else value >= 0)


def _decimals(seconds: float) -> str:
    """Seconds to the microsecond, less than a sample."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
