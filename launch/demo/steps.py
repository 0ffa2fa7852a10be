"""The demo's steps: generated speech, training, evaluation on unseen voices and sentences, plots."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from configs.demo import get_config
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.data.partners import Partners, stable_hash
from urgentmos_jax.evaluation.baseline import mean_log_mel, ridge
from urgentmos_jax.evaluation.plots import frame_scores, predicted_against_true
from urgentmos_jax.manifests.reading import Utterance, read_utterances
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.statistics.correlation import agreement
from urgentmos_jax.statistics.preference import sign_accuracy
from urgentmos_jax.synthesis.generated import all_systems, default_splits, generate
from urgentmos_jax.training.trainer import Trainer

__all__ = ["Demo"]

# Codecs and lost packets are left out: half a thousand clips are too few to hear them by.
DEGRADATIONS = (
    *("clean", "white_noise", "pink_noise", "brown_noise", "babble"),
    *("mnru", "clipping", "low_pass", "high_pass", "reverberation"),
)
REFERENCES = {"train": 140, "test": 30}


class Demo:
    """The demo in one folder: `data`, `run`, `model`, `results.json` and two plots.

    Args:
        workdir: Where it all goes. What is there is used again.
    """

    def __init__(self, workdir: Path):
        self.workdir = Path(workdir).absolute()

    def run(self) -> dict[str, Any]:
        """Runs all steps and prints what they found.

        Returns:
            `metrics` {metric: figures}, `kinds` {metric: {kind: SRCC}}, `pairs`: figures of the CMOS head, `seconds`.
        """
        started = time.perf_counter()
        self._generate()
        labels = self._train()
        model = load_model(self.workdir / "model", compile_cache=False)
        clips, _ = read_utterances(self.workdir / "data" / "test" / "data.jsonl")
        predicted = self._score(model, clips)
        results = self._judge(model, clips, predicted)
        self._examples(model, clips)
        self._plot(clips, predicted, results)
        results |= {"clips": len(clips), "seconds": time.perf_counter() - started}
        (self.workdir / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        print(f"\nThis model predicts {', '.join(labels)} without the clean speech.")
        print("It has never met a listener's opinion:")
        print("its scores are no MOS, and synthetic speech is all it knows.")
        print(f"{results['seconds']:.0f} s in all. Model, plots and speech: {self.workdir}")
        return results

    def _generate(self) -> None:
        systems = tuple(system for system in all_systems() if system.degradation in DEGRADATIONS)
        plans = default_splits()
        for name, count in REFERENCES.items():
            generate(self.workdir / "data" / name, dataclasses.replace(plans[name], systems=systems, references=count))

    def _train(self) -> list[str]:
        """Trains and writes the model folder; the metrics it learnt."""
        config = get_config()
        config.data.root = str(self.workdir / "data")
        metrics = config.model.categories.quality
        _, report = read_utterances(self.workdir / "data" / "train" / "data.jsonl")
        for name in [name for name in metrics if not report.labels.get(name)]:
            print(f"{name} is left out: its package is not installed")
            del metrics[name]
        trainer = Trainer(config, self.workdir / "run", name="configs/demo.py")
        trainer.run()
        trainer.export(self.workdir / "model")
        return list(metrics)

    def _score(self, model: Model, clips: list[Utterance]) -> dict[str, np.ndarray]:
        rows = model.score([clip.audio_path for clip in clips])
        return {name: np.array([row["scores"][name] for row in rows]) for name in model.metrics}

    def _judge(self, model: Model, clips: list[Utterance], predicted: dict[str, np.ndarray]) -> dict[str, Any]:
        """Agreement with the labels beside ridge regression, and of the CMOS head; printed as tables."""
        train, _ = read_utterances(self.workdir / "data" / "train" / "data.jsonl")
        ours, theirs = (mean_log_mel(clip.audio_path for clip in part) for part in (clips, train))
        kinds = np.array([clip.meta["kind"] for clip in clips])
        metrics, by_kind = {}, {}
        for name, values in predicted.items():
            known = [i for i, clip in enumerate(train) if name in clip.metrics]
            baseline = ridge(theirs[known], [train[i].metrics[name] for i in known], ours)
            true = np.array([clip.metrics.get(name, np.nan) for clip in clips])
            here = ~np.isnan(true)
            metrics[name] = agreement(values[here], true[here])
            metrics[name]["ridge_srcc"] = agreement(baseline[here], true[here])["srcc"]
            by_kind[name] = {
                kind: agreement(values[here & (kinds == kind)], true[here & (kinds == kind)])["srcc"]
                for kind in sorted(set(kinds) - {"clean"})
            }
        print(f"\n{len(clips)} clips of voices and sentences never met in training")
        print(f"{'metric':<10}{'n':>6}{'LCC':>8}{'SRCC':>8}{'ridge SRCC':>13}   SRCC within each kind of degradation")
        for name, found in metrics.items():
            text = ", ".join(f"{kind} {value:.2f}" for kind, value in by_kind[name].items())
            columns = f"{found['n']:>6}{found['lcc']:>8.3f}{found['srcc']:>8.3f}{found['ridge_srcc']:>13.3f}"
            print(f"{name:<10}{columns}   {text}")
        return {"metrics": metrics, "kinds": by_kind, "pairs": self._compare(model, clips)}

    def _compare(self, model: Model, clips: list[Utterance]) -> dict[str, Any]:
        """The CMOS head on pairs of any two clips."""
        (name,) = model.comparative_metrics
        true = np.array([clip.metrics[name] for clip in clips])
        lengths = np.array([round(clip.duration * SAMPLE_RATE_HZ) for clip in clips])
        keys = np.array([stable_hash(clip.uid) for clip in clips], np.uint64)
        some = np.zeros(len(clips), np.int64)
        partners = Partners("any", lengths, some, some, keys, np.ones(len(clips), bool))
        pairs = [(a, int(b)) for draw in range(2) for a, b in enumerate(partners.draw(0, draw)) if b >= 0]
        rows = model.compare([(clips[a].audio_path, clips[b].audio_path) for a, b in pairs])
        cmos = [row["comparison"][name]["cmos"] for row in rows]
        least = float(true.std()) / 2
        found = sign_accuracy(cmos, [true[a] - true[b] for a, b in pairs], least)
        print(
            f"\nCMOS head, {name}: of {found['n']} pairs apart by at least half a standard deviation ({least:.3f}) "
            f"it finds the better clip in {100 * found['accuracy']:.1f} %"
        )
        return {"metric": name, "least_difference": least, **found}

    def _examples(self, model: Model, clips: list[Utterance]) -> None:
        """Scores a clean and a noisy clip of one sentence, and compares them."""
        noise = {clip.reference_id: clip for clip in clips if clip.meta["kind"] == "noise"}
        clean, noisy = next(
            (clip, noise[clip.reference_id])
            for clip in clips
            if clip.system_id == "clean" and clip.reference_id in noise
        )
        rows = model.score([clean.audio_path, noisy.audio_path], frames=True)
        print()
        for clip, row in zip((clean, noisy), rows, strict=True):
            scores = ", ".join(
                f"{name} {row['scores'][name]:.2f} (true {clip.metrics[name]:.2f})" for name in row["scores"]
            )
            print(f"{clip.uid}: {scores}")
        (comparison,) = model.compare([(clean.audio_path, noisy.audio_path)])
        print(f"the first against the second: {comparison['comparison']}")
        titles = (clip.uid for clip in (clean, noisy))
        curves = {
            title: (load_audio(row["path"]).waveform, row["frames"]["estoi"]["scores"])
            for title, row in zip(titles, rows, strict=True)
        }
        frame_scores(self.workdir / "frame_scores.png", curves, sample_rate_hz=SAMPLE_RATE_HZ, metric="estoi")

    def _plot(self, clips: list[Utterance], predicted: dict[str, np.ndarray], results: dict[str, Any]) -> None:
        panels, groups = {}, []
        for name, values in predicted.items():
            here = [i for i, clip in enumerate(clips) if name in clip.metrics]
            title = f"{name}, SRCC {results['metrics'][name]['srcc']:.2f}"
            panels[title] = ([clips[i].metrics[name] for i in here], values[here])
            groups.append([clips[i].meta["kind"] for i in here])
        predicted_against_true(self.workdir / "predicted_against_true.png", panels, groups)
