"""The demo's steps: generated speech, training, evaluation on unseen voices and sentences, plots."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from configs.demo import get_config
from launch.demo.progress import Progress
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, load_audio
from urgentmos_jax.data.partners import Partners
from urgentmos_jax.evaluation.baseline import mean_log_mel, ridge
from urgentmos_jax.evaluation.plots import frame_scores, predicted_against_true
from urgentmos_jax.manifests.reading import read_utterances
from urgentmos_jax.manifests.records import Utterance
from urgentmos_jax.manifests.sampling import stable_hash
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.rows import Compared, Scored
from urgentmos_jax.statistics.correlation import agreement
from urgentmos_jax.statistics.preference import sign_accuracy
from urgentmos_jax.synthesis.generated import generate
from urgentmos_jax.synthesis.plans import System, all_systems, default_splits
from urgentmos_jax.training.logs import show_log
from urgentmos_jax.training.trainer import Trainer

__all__ = ["Demo"]

# Codecs and lost packets are left out: a thousand clips are too few to hear them by.
DEGRADATIONS = (
    *("clean", "white_noise", "pink_noise", "brown_noise", "babble"),
    *("mnru", "clipping", "low_pass", "high_pass", "reverberation"),
)
REFERENCES = {"train": 194, "test": 30}  # All pairs of voice and sentence that are there to train on.
SYSTEMS_PER_REFERENCE = {"train": 6, "test": 5}
EXAMPLE = (System(), System("white_noise", 5.0))


class Demo:
    """The demo in one folder: `data`, `run`, `model`, `results.json` and two plots.

    Args:
        workdir: Where it all goes. What is there is used again.
        progress: Is told what is being done.
    """

    def __init__(self, workdir: Path, progress: Progress):
        self.workdir, self._progress = Path(workdir).absolute(), progress

    def run(self) -> dict[str, Any]:
        """Runs all steps and prints what they found.

        Returns:
            `metrics` {metric: statistics}, `kinds` {metric: {kind: SRCC}}, `pairs`: accuracy of the CMOS head,
            `example`: two clips compared, `clips`, `seconds`.
        """
        started = time.perf_counter()
        with logging_redirect_tqdm([show_log()]):
            self._progress.begin("speech is generated, degraded and labelled")
            self._generate()
            self._progress.begin("training (XLA compiles each shape of batch when it first comes)")
            self._train()
        self._progress.begin("the model is evaluated on voices and sentences it never met")
        clips, example = (
            read_utterances(self.workdir / "data" / part / "data.jsonl")[0] for part in ("test", "example")
        )
        example.sort(key=lambda clip: clip.system_id != "clean")
        pairs = _pairs_of_any_two(clips)
        rows, compared = self._assess([*clips, *example], [*pairs, (len(clips), len(clips) + 1)])
        predicted = {name: np.array([row["scores"][name] for row in rows[: len(clips)]]) for name in rows[0]["scores"]}
        results = self._evaluate(clips, predicted)
        results["pairs"] = self._accuracy(clips, pairs, compared[:-1])
        results["example"] = self._example(example, rows[len(clips) :], compared[-1])
        self._progress.begin("plots are drawn")
        self._plot(clips, predicted, results)
        results |= {"clips": len(clips), "seconds": time.perf_counter() - started}
        (self.workdir / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        print(f"\nThis model predicts {', '.join(predicted)} without the clean speech. It has never met a listener's")
        print("opinion: its scores are no MOS, and synthetic speech is all it knows.")
        print(f"{results['seconds']:.0f} s in all. Model, plots and speech: {self.workdir}")
        return results

    def _generate(self) -> None:
        systems = tuple(system for system in all_systems() if system.degradation in DEGRADATIONS)
        plans = default_splits()
        for name, count in REFERENCES.items():
            sizes = {"references": count, "systems_per_reference": SYSTEMS_PER_REFERENCE[name]}
            generate(self.workdir / "data" / name, dataclasses.replace(plans[name], systems=systems, **sizes))
        two = dataclasses.replace(plans["test"], systems=EXAMPLE, references=1, systems_per_reference=2)
        generate(self.workdir / "data" / "example", two, processes=1, progress=False)

    def _train(self) -> None:
        """Trains, and writes the model folder."""
        config = get_config()
        config.data.root = str(self.workdir / "data")
        metrics = config.model.categories.quality
        _, report = read_utterances(self.workdir / "data" / "train" / "data.jsonl")
        for name in [name for name in metrics if not report.labels.get(name)]:
            print(f"{name} is left out: its package is not installed", flush=True)
            del metrics[name]
        trainer = Trainer(config, self.workdir / "run", name="configs/demo.py")
        trainer.run()
        trainer.export(self.workdir / "model")

    def _assess(
        self, clips: list[Utterance], pairs: list[tuple[int, int]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of the clips and of the pairs; each clip is encoded once."""
        model = load_model(self.workdir / "model", compile_cache=False)
        (self._compared,) = model.comparative_metrics
        found = list(model.assess([clip.audio_path for clip in clips], pairs, frames=True))
        rows, compared = (
            [one.row for one in sorted((one for one in found if isinstance(one, kind)), key=lambda one: one.index)]
            for kind in (Scored, Compared)
        )
        return rows, compared

    def _evaluate(self, clips: list[Utterance], predicted: dict[str, np.ndarray]) -> dict[str, Any]:
        """Agreement with the labels beside ridge regression, printed as a table."""
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
        return {"metrics": metrics, "kinds": by_kind}

    def _accuracy(
        self, clips: list[Utterance], pairs: list[tuple[int, int]], compared: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """How often the CMOS head finds the better clip."""
        name = self._compared
        true = np.array([clip.metrics[name] for clip in clips])
        cmos = [row["comparison"][name]["cmos"] for row in compared]
        minimum = float(true.std()) / 2
        found = sign_accuracy(cmos, [true[a] - true[b] for a, b in pairs], minimum)
        print(
            f"\nCMOS head, {name}: of {found['n']} pairs apart by at least half a standard deviation ({minimum:.3f}) "
            f"it finds the better clip in {100 * found['accuracy']:.1f} %"
        )
        return {"metric": name, "min_difference": minimum, **found}

    def _example(self, clips: list[Utterance], rows: list[dict[str, Any]], compared: dict[str, Any]) -> dict[str, Any]:
        """Tells in words the scores of a clean and a noisy clip of one sentence, and their comparison."""
        clean, noisy = clips
        titles = ("the clean clip", f"the one with white noise at {EXAMPLE[1].strength:g} dB")
        print(f"\nOne sentence of the voice {clean.meta['voice']}, clean and with white noise as one hears it:")
        for title, clip, row in zip(titles, clips, rows, strict=True):
            scores = (f"{name} {value:.2f} (true {clip.metrics[name]:.2f})" for name, value in row["scores"].items())
            print(f"  {title}: {', '.join(scores)}")
        name = self._compared
        found = compared["comparison"][name]
        first, second = titles if found["cmos"] > 0 else reversed(titles)
        true = clean.metrics[name] - noisy.metrics[name]
        right, wrong = (found["p_a"], found["p_b"]) if found["cmos"] > 0 else (found["p_b"], found["p_a"])
        print(
            f"The CMOS head finds {first} better than {second}, "
            f"by {abs(found['cmos']):.2f} of {name} (true: {true:.2f}).\n"
            f"It gives that {100 * right:.0f} %, the opposite {100 * wrong:.0f} %, a tie {100 * found['p_tie']:.0f} %."
        )
        curves = {
            clip.uid: (load_audio(clip.audio_path).waveform, row["frames"]["estoi"]["scores"])
            for clip, row in zip(clips, rows, strict=True)
        }
        frame_scores(self.workdir / "frame_scores.png", curves, sample_rate_hz=SAMPLE_RATE_HZ, metric="estoi")
        return {"metric": name, "true": true, **found}

    def _plot(self, clips: list[Utterance], predicted: dict[str, np.ndarray], results: dict[str, Any]) -> None:
        panels, groups = {}, []
        for name, values in predicted.items():
            here = [i for i, clip in enumerate(clips) if name in clip.metrics]
            title = f"{name}, SRCC {results['metrics'][name]['srcc']:.2f}"
            panels[title] = ([clips[i].metrics[name] for i in here], values[here])
            groups.append([clips[i].meta["kind"] for i in here])
        predicted_against_true(self.workdir / "predicted_against_true.png", panels, groups)


def _pairs_of_any_two(clips: list[Utterance]) -> list[tuple[int, int]]:
    """Two partners for each clip, drawn as training draws them."""
    lengths = np.array([round(clip.duration * SAMPLE_RATE_HZ) for clip in clips])
    keys = np.array([stable_hash(clip.uid) for clip in clips], np.uint64)
    some = np.zeros(len(clips), np.int64)
    partners = Partners("any", lengths, some, some, keys, np.ones(len(clips), bool))
    return [(a, int(b)) for draw in range(2) for a, b in enumerate(partners.draw(0, draw)) if b >= 0]
