"""The stages of a release in one folder."""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np

from launch.release import listeners, model
from launch.release.card import agreement_text, unlike_table
from launch.release.clips import SHARD, Shard, make_shard
from launch.release.evaluate import evaluate, table
from launch.release.labels import TABLES, label_shard
from launch.release.limits import limits
from launch.release.speed import speed
from launch.release.unlike import unlike
from launch.release.voices import VOICES, speak
from urgentmos_jax.files import write_json, write_text
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.stored import add_distribution
from urgentmos_jax.scoring.unlike import fit_distribution
from urgentmos_jax.weights.model_card import model_card
from urgentmos_jax.weights.model_folder import CONFIG_FILE, load_folder, save_folder

__all__ = ["Release"]

logger = logging.getLogger("urgentmos_jax")

_SEED = 17
# Of each split; training shards are for the caller to say.
_TEST, _DEV = 3, 1
# Training clips, about so many, that say what is like them.
_TYPICAL = 1000


class Release:
    """A release in `workdir`: `speech/<voice>`, `clips/<shard>`, `data`, `run`, `rated`, `model`.

    Args:
        workdir: Where it all goes. What is there is used again.
        shards, excerpts: Training shards, and excerpts of each shard.
        updates: Of training; 0: as the config says.
        voices: Only those whose names begin so.
        processes: That make and label clips; None: one a core.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        shards: int,
        excerpts: int = SHARD,
        updates: int = 0,
        voices: str = "",
        processes: int | None = None,
    ):
        self.workdir = workdir.absolute()
        self._processes = processes or os.cpu_count() or 1
        self._updates, self._voices = updates, voices
        self._tables = TABLES if (excerpts, voices) == (SHARD, "") else self.workdir / "labels"
        counts = (
            {"test": _TEST, "dev": _DEV, "train": shards}
            if excerpts == SHARD
            else dict.fromkeys(("test", "dev", "train"), 1)
        )
        shards = [
            Shard(split, number, _SEED, excerpts, voices) for split, count in counts.items() for number in range(count)
        ]
        # Some of each split come first: a model can be trained and looked at when a few shards are labelled.
        self.shards = sorted(shards, key=lambda shard: shard.number * (1 if shard.split == "train" else 10))

    def speak(self, speech: Path, asterisk: Path) -> None:
        """Clean speech of every voice."""
        for voice in VOICES.values():
            folder = self.workdir / "speech" / voice.name
            if voice.name.startswith(self._voices) and not folder.exists():
                logger.info("speech of %s", voice.name)
                speak(voice, folder, speech, asterisk)

    def label(self, distill_mos: Path) -> None:
        """Clips and labels, shard by shard; a first training needs the first few only."""
        predictor = load_model(distill_mos)
        for shard in self.shards:
            manifest = make_shard(shard, self.workdir / "speech", self.workdir / "clips", self._processes)
            labelled = label_shard(manifest, self._tables / f"{shard.name}.csv", predictor, self._processes)
            logger.info("%s: labelled", labelled)

    def _labelled(self, split: str) -> list[Path]:
        paths = [
            self.workdir / "clips" / shard.name / "labelled.jsonl" for shard in self.shards if shard.split == split
        ]
        return [path for path in paths if path.exists()]

    def train(self, whisper: Path) -> None:
        """The first stage of training, on the shards that are labelled."""
        for split in ("train", "dev"):
            model.training_manifest(self.workdir / "data" / split, self._labelled(split))
        changes = {"updates": self._updates, "epochs": 0.0} if self._updates else {}
        model.train(self.workdir / "data", self.workdir / "run", whisper, **changes)

    def listen(self, ratings: Path, distill_mos: Path) -> None:
        """The second stage, `mos_overall`: `rated/model`, and how it agrees with the listeners, `rated.json`."""
        folder = self.workdir / "rated"
        module, content = load_folder(self.workdir / "run" / "model")
        data = listeners.rated(module, ratings, folder, distill_mos)
        ours = load_model(self.workdir / "run" / "model").score([clip.audio_path for clip in data.clips])
        scores = {name: np.array([row["scores"][name] for row in ours]) for name in listeners.TEACHERS}
        scores[listeners.RATING] = listeners.predicted_by_folds(data)
        found = listeners.beside_teachers(data, scores)
        write_json(self.workdir / "rated.json", found)
        print(json.dumps(found, indent=1))
        save_folder(folder / "model", listeners.with_rating(module, data), content["origin"])

    @property
    def _trained(self) -> Path:
        """The model of the second stage, of the first where there is no second."""
        rated = self.workdir / "rated" / "model"
        return rated if rated.exists() else self.workdir / "run" / "model"

    def evaluate(self, distill_mos: Path) -> None:
        """Agreement on held-out voices and degradations: `evaluation.json`, and tables on standard output."""
        model, held_out = load_model(self._trained), self._labelled("test")
        found = evaluate(model, held_out)
        paths = [Path(clip.audio_path) for manifest in held_out for clip in read_utterances(manifest)[0]]
        found["limits"] = limits(model, load_model(distill_mos), paths)
        found["speed"] = speed(model, paths)
        train, dev = (
            [clip.audio_path for manifest in self._labelled(split) for clip in read_utterances(manifest)[0]]
            for split in ("train", "dev")
        )
        distribution = fit_distribution(model, train[:: max(1, len(train) // _TYPICAL)], dev)
        add_distribution(self._trained, distribution)
        found["unlike"] = unlike(model.with_distribution(distribution), held_out)
        write_json(self.workdir / "evaluation.json", found)
        pairs = found["pairs"]
        print(table(found))
        print(f"\n{pairs['n']} pairs by {pairs['metric']}: right side {pairs['accuracy']:.3f}\n")
        print(found["limits"], unlike_table(found), sep="\n\n")

    def package(self) -> None:
        """The released folder, `model`: float16, the metrics' own ranges, its origin in config.json, its card."""
        evaluation = json.loads((self.workdir / "evaluation.json").read_text())
        clips = [clip for path in self._labelled("train") for clip in read_utterances(path)[0]]
        origin = {
            "kind": "trained by launch.release",
            "licence": "MIT",
            "seed": _SEED,
            "clips": len(clips),
            "hours": round(sum(clip.duration for clip in clips) / 3600, 2),
            "teachers": "distill_mos and dnsmos_* are predictors' scores, not listeners' opinion",
            "speech": sorted({f"{voice.name}: {voice.source}" for voice in VOICES.values() if not voice.held_out}),
            "evaluation": evaluation["metrics"],
        }
        shutil.rmtree(self.workdir / "model", ignore_errors=True)
        model.package(self._trained, self.workdir / "model", origin)
        content = json.loads((self.workdir / "model" / CONFIG_FILE).read_text())
        rated = self.workdir / "rated.json"
        agreement = agreement_text(evaluation, json.loads(rated.read_text()) if rated.exists() else None)
        write_text(self.workdir / "model" / "README.md", model_card(content, "urgentmos-small", evaluation=agreement))
