"""The steps of `launch.supervision`: folds by talker, labels of which most are withheld, trainings, tables."""

import csv
import dataclasses
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from flax import nnx
from ml_collections import ConfigDict

from configs import common, demo
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.corpora.custom import Columns, Scale, prepare_table
from urgentmos_jax.files import summarise_errors, write_text
from urgentmos_jax.labels import intrusive
from urgentmos_jax.labels.labelling import label_manifest
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.sampling import stable_hash, stable_uniform
from urgentmos_jax.manifests.writing import write_utterances
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.synthesis.generated import generate
from urgentmos_jax.synthesis.plans import Plan, default_splits
from urgentmos_jax.training.trainer import Trainer

__all__ = ["CONDITIONS", "FOLDS", "Supervision", "assign_folds", "on_mos_scale", "talker_of", "withhold"]

FOLDS = 5
WITHHELD = 0.65
# Objective metrics and what is mapped to 1 and 5.
METRICS = {"estoi": (0.0, 1.0), "si_sdr": intrusive.SI_SDR_RANGE_DB, "pesq": (1.0, 4.5)}
# Predictors that hear the clip alone; their scores are from 1 to 5 as they are.
REFERENCE_FREE = ("distill_mos", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")
# To the compact encoder clips are cut, anew each epoch; a pretrained one hears them whole, so that its states are kept.
CLIP_SECONDS, WHOLE_SECONDS = 2.0, 6.0

# How the ratings of a set are read, and the system that is clean.
RATED = {
    "p835-wb": (Columns("file", {"mos_overall": "mos_ovrl"}, system="condition", reference="talker"), "c0"),
    "codec-mushra": (
        Columns(
            "file",
            {"mos_overall": "ratings_0_to_100"},
            system="condition",
            reference="signal",
            scales={"": Scale(0, 100, 1, 5)},
        ),
        "Reference",
    ),
}

# Of speech that is degraded here, spoken or recorded: 144 clips of either.
_MAKING = {"labels": tuple(METRICS), "withheld": WITHHELD}

SIZES = {"mel_bins": 40, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}

# Batches of an update: in b and c one of three holds rated clips, so that these are met as often as in a.
CONDITIONS = {"a": 1, "b": 3, "c": 3}
_SIGNAL = re.compile(r"(VCTK_p\d+|TSP_[A-Z]+)\d*_\d+")


def talker_of(reference: str) -> str:
    """Who speaks: `VCTK_p229` of `VCTK_p229_293`, `TSP_FB` of `TSP_FB07_09`; a reference of p835 is a talker itself."""
    found = _SIGNAL.fullmatch(reference)
    return found[1] if found else reference


def assign_folds(clips: Mapping[str, Sequence[Utterance]], folds: int = FOLDS) -> dict[str, int]:
    """The fold that each talker is tested in.

    Set by set, the talkers with most clips first, each goes where fewest clips are.

    Args:
        clips: {set: its clips}.
        folds: How many.

    Raises:
        ValueError: There are fewer talkers than folds.
    """
    found: dict[str, int] = {}
    sizes = [0] * folds
    for part in clips.values():
        counts: dict[str, int] = {}
        for clip in part:
            talker = talker_of(clip.reference_id)
            counts[talker] = counts.get(talker, 0) + 1
        for talker in sorted(counts, key=lambda name: (-counts[name], name)):
            fold = found.setdefault(talker, sizes.index(min(sizes)))
            sizes[fold] += counts[talker]
    if len(set(found.values())) < folds:
        raise ValueError(f"{len(found)} talkers cannot be tested in {folds} folds")
    return found


def on_mos_scale(values: Mapping[str, float]) -> dict[str, float]:
    """Labels with objective metrics mapped linearly to 1 to 5, so that none outweighs the others in the loss."""
    found = dict(values)
    for name in METRICS.keys() & values.keys():
        least, greatest = METRICS[name]
        found[name] = round(Scale(least, greatest, 1, 5)(min(max(values[name], least), greatest)), 4)
    return found


def withhold(uid: str, names: Iterable[str], share: float = WITHHELD) -> list[str]:
    """The names that stay when each is left out with this chance; a function of uid and name alone."""
    return [name for name in names if stable_uniform([stable_hash(uid)], "withheld", name)[0] >= share]


class Supervision:
    """The study in one folder: generated speech, `folds`, `runs`, and the tables.

    Args:
        data: Folder of the rated sets.
        workdir: Where it all goes. What is there is used again.
        updates: Of each training.
        encoder: Hugging Face folder or hub id of a Whisper encoder, frozen, beneath heads that are trained; then b and
            c learn predictors' scores too. "": the compact encoder, from nothing.
        distill_mos: Model folder of that predictor; needed with `encoder`.

    Raises:
        ValueError: The folder holds trainings of other length or of another encoder.
        FileNotFoundError: The rated sets are not there.
    """

    def __init__(self, data: Path, workdir: Path, *, updates: int, encoder: str = "", distill_mos: Path | None = None):
        self.data, self.workdir, self.updates = Path(data).absolute(), Path(workdir).absolute(), updates
        self.encoder, self._distill_mos = encoder, distill_mos
        for name in RATED:
            if not (self.data / name / "ratings.csv").is_file():
                raise FileNotFoundError(f"--data: no {self.data / name / 'ratings.csv'}; give the folder of {name}")
        self.workdir.mkdir(parents=True, exist_ok=True)
        settings, text = self.workdir / "updates.txt", f"{updates} on {encoder}" if encoder else str(updates)
        if settings.exists() and (before := settings.read_text().strip()) != text:
            about = f"{self.workdir} holds trainings of {before}; give that, or another --workdir"
            raise ValueError(f"--encoder, --updates: {about}")
        settings.write_text(f"{text}\n")
        self._seconds = WHOLE_SECONDS if encoder else CLIP_SECONDS
        self._models: dict[str, Model] = {}

    def run(self, folds: Sequence[int], seeds: Sequence[int], conditions: Sequence[str]) -> tuple[Path, Path]:
        """Trains and tests what is not finished.

        Returns:
            The tables of all that is finished: predictions, preferences.

        Raises:
            ValueError: No such fold or condition.
        """
        if wrong := sorted(set(folds) - set(range(FOLDS))):
            raise ValueError(f"--folds: no fold {wrong[0]}; there are 0 to {FOLDS - 1}")
        if wrong := sorted(set(conditions) - set(CONDITIONS)):
            raise ValueError(f"--conditions: no condition {wrong[0]!r}; there are {', '.join(CONDITIONS)}")
        clips = self._rated()
        self._fold_of = assign_folds(clips)
        self._clips = {clip.uid: (name, clip) for name, part in clips.items() for clip in part}
        self._spoken()
        for fold in folds:
            self._prepare(fold, clips)
        for seed, fold, condition in itertools.product(seeds, folds, conditions):
            if not self._result(fold, seed, condition).exists():
                self._train(fold, seed, condition)
        return self._tables()

    # Data.

    def _rated(self) -> dict[str, list[Utterance]]:
        """The rated clips of both sets at 16 kHz, with PESQ against the clean recording of the same signal.

        The degraded files are shifted against the clean ones by a few milliseconds, which PESQ finds and corrects;
        ESTOI and SI-SDR would measure the shift.
        """
        found = {}
        for name, (columns, clean) in RATED.items():
            folder = self.workdir / "rated" / name
            labelled = folder / "labelled.jsonl"
            if not labelled.exists():
                prepare_table(self.data / name / "ratings.csv", folder, columns)
                clips, _ = read_utterances(folder / "data.jsonl")
                waveforms = {clip.uid: load_audio(clip.audio_path).waveform for clip in clips}
                cleans = {clip.reference_id: waveforms[clip.uid] for clip in clips if clip.system_id == clean}
                made = []
                for clip in clips:
                    # Kept decoded: each is read a hundred times.
                    path = folder / clip.reference_id / f"{clip.system_id}.wav"
                    path.parent.mkdir(exist_ok=True)
                    soundfile.write(path, waveforms[clip.uid], SAMPLE_RATE_HZ, subtype="FLOAT")
                    labels = clip.metrics | _pesq(clip.uid, waveforms[clip.uid], cleans[clip.reference_id])
                    made.append(dataclasses.replace(clip, audio_path=str(path), metrics=labels))
                write_utterances(labelled, made)
            found[name] = self._taught(labelled)
        return found

    def _taught(self, manifest: Path) -> list[Utterance]:
        """The clips of a manifest; with `encoder` also their scores by predictors, most of them withheld."""
        if not self.encoder:
            return read_utterances(manifest)[0]
        output = manifest.with_name("taught.jsonl")
        labelled = label_manifest(
            manifest, output, metrics=REFERENCE_FREE, model=self._distill_mos, processes=os.cpu_count() or 1
        )
        if labelled.errors:
            faults = [error["message"] for error in labelled.errors.values()]
            raise ValueError(summarise_errors(faults, "clips failed; the same command tries them again"))
        clips, _ = read_utterances(output)
        made = []
        for clip in clips:
            left_out = set(REFERENCE_FREE) - set(withhold(clip.uid, REFERENCE_FREE))
            metrics = {name: value for name, value in clip.metrics.items() if name not in left_out}
            made.append(dataclasses.replace(clip, metrics=metrics))
        return made

    def _spoken(self) -> Path:
        """Generated speech, the same for all folds."""
        plan = dataclasses.replace(default_splits()["train"], references=36, systems_per_reference=4, **_MAKING)
        return generate(self.workdir / "spoken", plan)

    def _prepare(self, fold: int, clips: Mapping[str, Sequence[Utterance]]) -> None:
        """Writes the manifests of a fold; nothing of its test talkers is in those of training."""
        folder = self.workdir / "folds" / str(fold)
        clean = folder / "clean"
        clean.mkdir(parents=True, exist_ok=True)
        for name, part in clips.items():
            train = [clip for clip in part if self._fold_of[talker_of(clip.reference_id)] != fold]
            _write(folder / name / "train", train)
            for clip in train:
                link = clean / f"{clip.reference_id}.wav"
                if clip.system_id == RATED[name][1] and not link.is_symlink():
                    link.symlink_to(clip.audio_path)
        plan = Plan(references=12, systems_per_reference=12, seed=fold, **_MAKING)
        degraded = generate(folder / "degraded_clean", plan, clean=clean)
        for name, manifest in (("spoken", self.workdir / "spoken" / "data.jsonl"), ("degraded", degraded)):
            _write(folder / name / "train", self._taught(manifest))

    # Trainings.

    def _config(self, fold: int, seed: int, condition: str) -> ConfigDict:
        """That of `configs/demo.py`, smaller, with listeners' scores."""
        config = demo.get_config()
        config.seed = seed
        sources = [*RATED, *(["spoken", "degraded"] if condition != "a" else [])]
        config.data.update(root=str(self.workdir / "folds" / str(fold)), train=tuple(f"{s}/train" for s in sources))
        config.data.update(pairing_scope="corpus", max_seconds=self._seconds)
        config.batch.update(seconds=16 * self._seconds, clips=16, accumulate=CONDITIONS[condition])
        if self.encoder:
            config.model.encoders = dict(pretrained=common.frozen(self.encoder, own_length=True))
            config.data.feature_cache = str(self.workdir / "states")
        else:
            config.model.encoders.compact.architecture.update(SIZES)
        # The heads sit right on the encoder, so that all that is learnt is shared. Objective metrics are a category of
        # their own: opinion has half the weight, however many there are.
        config.model.width, config.model.category = SIZES["hidden_size"], None
        bounds = dict(minimum=1.0, maximum=5.0)
        config.model.categories = dict(opinion=dict(mos_overall=dict(**bounds, comparative=True)))
        if condition != "a":
            metrics = [name for name in METRICS if name in intrusive.available()]
            metrics += REFERENCE_FREE if self.encoder else ()
            config.model.categories.objective = {name: dict(**bounds, comparative=False) for name in metrics}
        # Rows are the same pairs in all conditions; only c learns from the differences of their scores.
        config.loss.update(tie=0.5, comparative=0.5 if condition == "c" else 0.0)
        config.update(dict.fromkeys(("updates", "validate_every", "save_every"), self.updates))
        config.update(log_every=100)
        config.optimizer.warmup_updates = min(30, self.updates)
        return config

    def _train(self, fold: int, seed: int, condition: str) -> None:
        """Trains, and predicts the scores of the test clips; in c also the preferences."""
        print(f"\nfold {fold}, seed {seed}, condition {condition}", file=sys.stderr)
        result = self._result(fold, seed, condition)
        config = self._config(fold, seed, condition)
        trainer = Trainer(config, result.parent, name="launch.supervision", confirm=lambda question: True)
        trainer.run()
        module = trainer.module()
        if condition not in self._models:
            self._models[condition] = Model(module, window_seconds=self._seconds)
        # Compiled once for all folds and seeds.
        model = self._models[condition].with_params(nnx.state(module))
        clips = self._tested(fold)
        scores = [_value(row)["scores"]["mos_overall"] for row in model.score([clip.audio_path for clip in clips])]
        found: dict[str, Any] = {"scores": dict(zip([clip.uid for clip in clips], scores, strict=True)), "pairs": []}
        if condition == "c":
            pairs = list(_pairs(clips))
            rows = model.compare([(a.audio_path, b.audio_path) for a, b in pairs])
            cmos = [_value(row)["comparison"]["mos_overall"]["cmos"] for row in rows]
            found["pairs"] = [(a.uid, b.uid, value) for (a, b), value in zip(pairs, cmos, strict=True)]
        write_text(result, json.dumps(found) + "\n")

    def _tested(self, fold: int) -> list[Utterance]:
        return [clip for _, clip in self._clips.values() if self._fold_of[talker_of(clip.reference_id)] == fold]

    def _result(self, fold: int, seed: int, condition: str) -> Path:
        return self.workdir / "runs" / f"fold{fold}-seed{seed}-{condition}" / "result.json"

    def _tables(self) -> tuple[Path, Path]:
        """Predictions, a row a clip, and preferences of c, a row a pair; a column a training."""
        scores: dict[str, dict[str, float]] = {uid: {} for uid in self._clips}
        pairs: dict[tuple[str, str], dict[str, float]] = {}
        columns = set()
        for path in sorted((self.workdir / "runs").glob("*/result.json")):
            seed, condition = re.fullmatch(r"fold\d+-seed(\d+)-(\w)", path.parent.name).groups()
            column = f"{condition}_{seed}"
            columns.add(column)
            found = json.loads(path.read_text())
            for uid, value in found["scores"].items():
                scores[uid][column] = value
            for a, b, value in found["pairs"]:
                pairs.setdefault((a, b), {})[column] = value
        predictions, preferences = (self.workdir / name for name in ("predictions.csv", "preferences.csv"))
        about = ("uid", "set", "fold", "talker", "reference", "system", "mos")
        rows = []
        for uid, found in scores.items():
            name, clip = self._clips[uid]
            talker = talker_of(clip.reference_id)
            mos = clip.metrics["mos_overall"]
            values = (uid, name, self._fold_of[talker], talker, clip.reference_id, clip.system_id, mos)
            rows.append(dict(zip(about, values, strict=True)) | _rounded(found))
        _write_csv(predictions, (*about, *sorted(columns)), rows)
        rows = [{"a": a, "b": b} | _rounded(found) for (a, b), found in sorted(pairs.items())]
        _write_csv(preferences, ("a", "b", *sorted(c for c in columns if c.startswith("c_"))), rows)
        return predictions, preferences


def _pesq(uid: str, degraded: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """PESQ of a clip, of most clips withheld."""
    both = min(len(degraded), len(clean))
    metrics = withhold(uid, [name for name in ("pesq",) if name in intrusive.available()])
    return intrusive.measure(degraded[:both], clean[:both], metrics)


def _pairs(clips: Iterable[Utterance]) -> Iterator[tuple[Utterance, Utterance]]:
    """All pairs of clips of the same reference."""
    by_reference = sorted(clips, key=lambda clip: (clip.reference_id, clip.uid))
    for _, group in itertools.groupby(by_reference, lambda clip: clip.reference_id):
        yield from itertools.combinations(group, 2)


def _value(row: dict[str, Any]) -> dict[str, Any]:
    if row["error"] is not None:
        raise ValueError(f"{row.get('path') or row.get('paths')}: {row['error']['message']}")
    return row


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _write(folder: Path, clips: Sequence[Utterance]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    mapped = [dataclasses.replace(clip, metrics=on_mos_scale(clip.metrics)) for clip in clips]
    write_utterances(folder / "data.jsonl", mapped)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
