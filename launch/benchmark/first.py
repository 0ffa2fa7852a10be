"""From the start of a process to the first score, with an empty and with a filled compile cache."""

import statistics
from typing import Any

import soundfile

from launch.benchmark.clips import generated
from launch.benchmark.measuring import process_seconds
from launch.benchmark.models import model_files
from launch.benchmark.settings import Settings
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ


def measure(settings: Settings) -> dict[str, Any]:
    """Returns seconds from the start of a process to the first score of a clip of 4 s."""
    folder, checkpoint, encoder = model_files(settings)
    clip = settings.scratch / "clip.wav"
    soundfile.write(clip, next(generated(1, seconds=4.0)), SAMPLE_RATE_HZ)
    ours = f"import urgentmos_jax as u; print(u.load_model({str(folder)!r}).score([{str(clip)!r}])[0]['scores'])"
    cache = {"XDG_CACHE_HOME": str(settings.scratch / "cache")}
    figures = {"first_score_seconds_empty_cache": process_seconds(ours, cache)}
    warm = [process_seconds(ours, cache) for _ in range(settings.rounds)]
    figures["first_score_seconds_filled_cache"] = statistics.median(warm)
    if settings.against_torch:
        theirs = (
            "import pathlib, soundfile, torch; "
            "from launch.benchmark.torch_reference.checkpoints import from_checkpoint; "
            f"m = from_checkpoint(pathlib.Path({str(checkpoint)!r}), [pathlib.Path({str(encoder)!r})]); "
            f"x = torch.from_numpy(soundfile.read({str(clip)!r}, dtype='float32')[0])\n"
            "with torch.inference_mode(): print(m([x]))"
        )
        found = statistics.median(process_seconds(theirs, {}) for _ in range(settings.rounds))
        figures |= {"first_score_seconds_torch": found}
        figures["torch_over_ours_filled_cache"] = found / figures["first_score_seconds_filled_cache"]
    return figures
