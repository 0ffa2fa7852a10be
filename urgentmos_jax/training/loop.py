"""The loop of a run: data, updates, checkpoints, validation, and where it goes on after it was stopped."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from urgentmos_jax.audio import SAMPLE_RATE_HZ
from urgentmos_jax.data.pipeline import Plan, load_batches
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.model.released import is_model_folder, load_folder, save_folder
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring import Model, least_samples, most_samples
from urgentmos_jax.training.checkpoints import Checkpoints, abstract_state
from urgentmos_jax.training.config import ConfigError, differences, read_config
from urgentmos_jax.training.initial import initial_module, model_config
from urgentmos_jax.training.logs import RunLog
from urgentmos_jax.training.sharding import make_mesh, put_rows, replicated
from urgentmos_jax.training.step import (
    MOST_BAD_IN_A_ROW,
    TrainStep,
    learning_rate,
    make_optimizer,
    split_module,
)
from urgentmos_jax.training.validation import format_table, read_validation_sets, validate

__all__ = ["NonFiniteLoss", "TooManyBadItems", "Trainer"]

logger = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """Gradients were not finite several times in a row."""


class TooManyBadItems(RuntimeError):
    """More clips failed to load than the config allows."""


class Trainer:
    """One run in one folder. A folder with checkpoints is gone on with.

    The folder gets `config.json`; `start`, the model before the first update (so that going on needs neither network
    nor the pretrained encoders' folders); `checkpoints`; `metrics.jsonl` and `tensorboard`; `skipped.jsonl` where clips
    failed to load.

    Args:
        values: The config, see `training.config`.
        workdir: The run's folder.
        name: Of the config file, for messages.
        devices: That share the rows of a batch; None = all local ones.

    Raises:
        ConfigError: keys are unknown, missing or wrong; or the folder holds a run of another config.
        ManifestError, FileNotFoundError: the manifests cannot be used.
        ModelNotFound, WeightsError, ValueError: a pretrained encoder cannot be loaded.
        CheckpointError: the checkpoints do not fit.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        workdir: Path,
        *,
        name: str = "config",
        devices: Sequence[jax.Device] | None = None,
    ):
        self.config = read_config(values, name=name)
        self.workdir = Path(workdir).absolute()
        values = values.to_dict() if hasattr(values, "to_dict") else dict(values)
        self._same_config(values)
        metrics = {key: one for group in self.config.model.categories.values() for key, one in group.items()}
        self._read_data(metrics)
        if not is_model_folder(self.workdir / "start"):
            self._check_lengths()
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._write_config(values)

        module = self._start()
        self.mesh = make_mesh(devices)
        self._graph, trained, frozen = split_module(module)
        trained, self._frozen = jax.device_put((trained, frozen), replicated(self.mesh))
        self.plan = self._make_plan(module)
        accumulate = self.config.batch.accumulate
        self.updates = self.config.updates or math.ceil(self.config.epochs * len(self.plan.epoch(0)) / accumulate)
        optimizer = make_optimizer(self.config.optimizer, self.updates)
        self._schedule = learning_rate(self.config.optimizer, self.updates)
        self._step = TrainStep(self._graph, module.config, optimizer, self.config.loss, seed=self.config.seed)
        self.state = jax.jit(self._step.init, out_shardings=replicated(self.mesh))(trained)
        self._checkpoints = Checkpoints(self.workdir / "checkpoints", keep=self.config.keep)
        restored = self._checkpoints.restore_newest(abstract_state(self.state))
        if restored is not None:
            self.state = restored
            logger.info("going on from update %d of %d in %s", self.done, self.updates, self.workdir)
        self._model = Model(module, devices=devices) if self._validation else None
        self._bad_clips: set[str] = set()

    @property
    def done(self) -> int:
        """Updates so far."""
        return int(self.state.step)

    def module(self) -> UrgentMOS:
        """The model as it is now."""
        return nnx.merge(self._graph, self.state.trained, self._frozen)

    def export(self, folder: Path) -> None:
        """Writes the model folder."""
        data = list(self.config.data.train)
        save_folder(folder, self.module(), {"kind": "training run", "update": self.done, "data": data})

    def run(self) -> dict[str, Any]:
        """Trains to the end.

        Returns:
            The last validation, see `validation.validate`.

        Raises:
            NonFiniteLoss: gradients were not finite in three updates in a row; the last checkpoint is good.
            TooManyBadItems: more clips failed to load than `data.most_bad` allows.
            CheckpointError: a checkpoint could not be written.
        """
        results: dict[str, Any] = {}
        config, start = self.config, self.done
        accumulate = config.batch.accumulate
        log = RunLog(self.workdir, start, self.updates, self._schedule)
        batches = load_batches(self.plan, start * accumulate, self.updates * accumulate, workers=config.data.workers)
        try:
            for update in range(start + 1, self.updates + 1):
                with log.waiting():
                    group = [next(batches) for _ in range(accumulate)]
                self._report_skipped(group)
                arrays = [put_rows(self.mesh, batch["arrays"]) for batch in group]
                self.state, report = self._step(self.state, self._frozen, arrays)
                log.add(update, report, group)
                save, check, show = (
                    update == self.updates or update % every == 0
                    for every in (config.save_every, config.validate_every, config.log_every)
                )
                if save or check or show:
                    log.flush()
                    self._check_finite(log)
                if save:
                    self._checkpoints.save(update, self.state)
                if check and self._validation:
                    results = self._validate(log)
                if save or check:
                    log.restart_clock()
        finally:
            log.close()
            _close(batches)
        return results

    # What a run starts from.

    def _same_config(self, values: Mapping[str, Any]) -> None:
        path = self.workdir / "config.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if changed := differences(before, values):
                raise ConfigError(
                    f"{self.workdir} holds a run of another config; give another --workdir, or set back: "
                    + "; ".join(changed)
                )

    def _write_config(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, indent=1) + "\n"
        fresh = self.workdir / ".config.json.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.workdir / "config.json")

    def _read_data(self, metrics: dict[str, Any]) -> None:
        data = self.config.data
        root, audio_root = Path(data.root), Path(data.audio_root) if data.audio_root else None
        train, valid = ([find_source(name, root) for name in names] for names in (data.train, data.valid))
        if both := {str(s.path.resolve()) for s in train} & {str(s.path.resolve()) for s in valid}:
            raise ConfigError(f"data: {', '.join(sorted(both))} in both data.train and data.valid")
        self.data = read_training_set(train, metrics, audio_root=audio_root)
        self._validation = read_validation_sets(
            valid, metrics, audio_root=audio_root, scope=data.pairing_scope, seed=self.config.seed
        )
        labels = ", ".join(f"{name} {count}" for name, count in self.data.label_counts().items())
        logger.info("%d clips, %.2f h, labels: %s", len(self.data.uids), self.data.hours, labels)
        if self.data.clipped:
            logger.warning("labels outside their range, clipped: %s", dict(self.data.clipped))
        if cut := int((self.data.seconds > data.max_seconds).sum()):
            logger.warning("%d clips are longer than %g s and are cut", cut, data.max_seconds)

    def _check_lengths(self) -> None:
        longest, most = most_samples(model_config(self.config.model)), self.config.data.max_seconds
        if longest is not None and most * SAMPLE_RATE_HZ > longest:
            raise ConfigError(
                f"data.max_seconds is {most:g}, an encoder takes {longest / SAMPLE_RATE_HZ:g} s; set it to that: "
                f"longer clips are then cut, at a place drawn anew each epoch"
            )

    def _start(self) -> UrgentMOS:
        """The model before the first update, kept in the folder."""
        folder = self.workdir / "start"
        if not is_model_folder(folder):
            module = initial_module(self.config.model, self.config.seed)
            save_folder(folder, module, {"kind": "before training"})
        return load_folder(folder)[0]

    def _make_plan(self, module: UrgentMOS) -> Plan:
        config = self.config
        plan = Plan(
            self.data,
            scope=config.data.pairing_scope,
            seconds=config.batch.seconds,
            most=config.batch.clips,
            max_seconds=config.data.max_seconds,
            min_samples=least_samples(module.config),
            seed=config.seed,
        )
        one, two = (plan.padding_efficiency(sides) for sides in (1, 2))
        shapes = plan.shapes()
        logger.info(
            "%d batches an epoch, %d shapes, padding efficiency %.2f one-sided, %.2f two-sided",
            *(len(plan.epoch(0)), len(shapes), one, two),
        )
        return plan

    # What a run reports.

    def _report_skipped(self, group: list[dict[str, Any]]) -> None:
        """Clips that could not be loaded: to the console once, to `skipped.jsonl` each time."""
        skipped = [one for batch in group for one in batch["skipped"]]
        if not skipped:
            return
        with (self.workdir / "skipped.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in skipped)
        for one in skipped:
            if one["uid"] not in self._bad_clips:
                self._bad_clips.add(one["uid"])
                logger.warning("skipped %s: %s", one["uid"], one["message"])
        most = max(1, self.config.data.most_bad * len(self.data.uids))
        if len(self._bad_clips) > most:
            raise TooManyBadItems(
                f"{len(self._bad_clips)} of {len(self.data.uids)} clips failed to load, data.most_bad allows "
                f"{most:.0f}; they are listed in {self.workdir / 'skipped.jsonl'}"
            )

    def _check_finite(self, log: RunLog) -> None:
        if log.bad_in_a_row >= MOST_BAD_IN_A_ROW:
            raise NonFiniteLoss(
                f"the gradients of {log.bad_in_a_row} updates in a row up to {self.done} were not finite; their clips "
                f"are in {log.not_finite}. The last checkpoint is good: lower optimizer.learning_rate, or look at "
                f"these clips"
            )

    def _validate(self, log: RunLog) -> dict[str, Any]:
        merged = nnx.split(self.module())[1]
        self._model.params = jax.device_put(merged, jax.tree.leaves(self._model.params)[0].sharding)
        results = validate(self._model, self._validation)
        logger.info("validation at update %d\n%s", self.done, format_table(results))
        flat = {f"{s}/{m}/{k}": v for s, metrics in results.items() for m, vs in metrics.items() for k, v in vs.items()}
        log.write(self.done, "valid", flat)
        return results


def _close(batches: Iterator[Any]) -> None:
    """Ends the threads and processes of a Grain iterator."""
    if hasattr(batches, "close"):
        batches.close()
