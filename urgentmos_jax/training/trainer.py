"""The loop of a run: data, updates, checkpoints, validation, and where it goes on after it was stopped."""

import hashlib
import json
import logging
import math
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.data.loader import DataWorkerLost, LoadedBatches
from urgentmos_jax.data.plan import Plan
from urgentmos_jax.data.stored_states import DamagedStates
from urgentmos_jax.data.training_set import find_source, read_training_set
from urgentmos_jax.files import (
    InUse,
    Lock,
    absolute_path,
    append_json_lines,
    is_remote,
    write_json,
    write_text,
)
from urgentmos_jax.manifests.overlap import overlaps
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.engine import max_samples, min_samples
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.training import topology as hosts
from urgentmos_jax.training.checkpoints import CheckpointError, Checkpoints
from urgentmos_jax.training.config import ConfigError, differences, read_config
from urgentmos_jax.training.feature_cache import FeatureCacheError, open_feature_cache
from urgentmos_jax.training.logs import RunLog
from urgentmos_jax.training.memory import OutOfMemory, check_largest, device_bytes, out_of_memory
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.start import check_same_config, start_model, with_sizes
from urgentmos_jax.training.step import (
    MOST_BAD_IN_A_ROW,
    TrainStep,
    learning_rate,
    make_optimizer,
    split_module,
)
from urgentmos_jax.training.validation import format_table, read_validation_sets, validate
from urgentmos_jax.weights.model_folder import is_model_folder, save_folder

__all__ = ["STOPPED", "Interrupted", "NonFiniteLoss", "TooManyBadItems", "Trainer"]

logger = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """Gradients were not finite several times in a row."""


class TooManyBadItems(RuntimeError):
    """More clips failed to load than the config allows."""


class Interrupted(RuntimeError):
    """A signal ended the run, behind a checkpoint; `signal` is its number."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.signal = number


# What may end a run before its time, each with a message for its user.
STOPPED = (NonFiniteLoss, TooManyBadItems, CheckpointError, DataWorkerLost, OutOfMemory, InUse)
STOPPED += (FeatureCacheError, DamagedStates, hosts.HostLost)


class Trainer:
    """One run in one folder. A folder with checkpoints is gone on with.

    It starts from the run in its folder, else from the model that `start_from` names, else from pretrained encoders,
    else from nothing. The folder gets `config.json`; `start`, the model before the first update (so that going on needs
    neither network nor the folders of pretrained encoders); `checkpoints`; `metrics.jsonl` and `tensorboard`;
    `skipped.jsonl` where clips failed to load, `not_finite.jsonl` where updates were left out. No other run may use it
    until this one has ended, or `close`.

    Args:
        values: The config, see `training.config`.
        workdir: The run's folder, the same for all hosts; local or `gs://`.
        name: Of the config file, for messages.
        devices: That the mesh is made of; None = those of all hosts.
        strict: Stop where the newest checkpoint is damaged or a clip fails to load, instead of going on without it.
        confirm: Is asked before much is written, the feature cache; None = no.

    Raises:
        ConfigError: keys are unknown, missing or wrong; or the folder holds a run of another config.
        ManifestError, FileNotFoundError: the manifests cannot be used.
        ModelNotFound, WeightsError, ValueError: a pretrained encoder cannot be loaded, or the mesh does not fit the
            devices, or the hosts do not agree.
        CheckpointError: the checkpoints do not fit, or there is no room for them.
        InUse: another process runs in the folder.
        OutOfMemory: the largest batch does not fit a device.
        FeatureCacheError, DamagedStates: encoder states cannot be stored or read.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        workdir: Path | str,
        *,
        name: str = "config",
        devices: Sequence[jax.Device] | None = None,
        strict: bool = False,
        confirm: Callable[[str], bool] | None = None,
    ):
        self._confirm = confirm or (lambda question: False)
        self.config = read_config(values, name=name)
        self.layout = Layout(self.config.mesh, devices)
        self.workdir, self._strict = absolute_path(workdir), strict
        values = values.to_dict() if hasattr(values, "to_dict") else dict(values)
        # As it comes back from JSON, to be compared with what does.
        values = json.loads(json.dumps(values))
        check_same_config(self.workdir, values)
        self._read_data(self.config.model.metrics)
        if not is_model_folder(self.workdir / "start"):
            self._check_lengths()
        hosts.same_everywhere(values, differences, "the configs")
        hosts.same_everywhere(self._fingerprint(), hosts.differing_values, "the manifests")
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._lock = None
        if hosts.is_first() and not is_remote(self.workdir):
            self._lock = Lock(self.workdir / ".lock", held=self.workdir, option="--workdir")
        try:
            self._prepare(values, devices)
        except BaseException:
            self.close()
            raise

    def _prepare(self, values: dict[str, Any], devices: Sequence[jax.Device] | None) -> None:
        if hosts.is_first():
            write_json(self.workdir / "config.json", values)
        module = hosts.read_everywhere(lambda: start_model(self.config, self.workdir))
        self.plan = self._make_plan(module)
        accumulate = self.config.batch.accumulate
        self.updates = self.config.updates or math.ceil(self.config.epochs * len(self.plan.epoch(0)) / accumulate)
        self._schedule = learning_rate(self.config.optimizer, self.updates)
        self._graph, trained, frozen = split_module(module, remat=self.config.remat)
        self._step = TrainStep(
            self._graph,
            trained,
            module.config,
            make_optimizer(self.config.optimizer, self.updates),
            self.config.loss,
            self.layout,
            seed=self.config.seed,
            precision=self.config.precision,
        )
        local = [device for device in self.layout.mesh.devices.flat if device.process_index == jax.process_index()]
        if self.config.data.feature_cache:
            folder = Path(self.config.data.feature_cache)
            self.plan.states = open_feature_cache(folder, module, self.plan, confirm=self._confirm, devices=local)
        self.layout.report_large((trained, frozen))
        self._frozen = self.layout.put(frozen)
        self._checkpoints = Checkpoints(
            self.workdir / "checkpoints",
            keep=self.config.keep,
            config=values,
            differ=differences,
            strict=self._strict,
        )
        if hosts.is_first():
            self._checkpoints.remove_unfinished()
            self._checkpoints.check_space(self._step.abstract)
        hosts.wait_for_all("checkpoints")
        self.state = self._checkpoints.restore_newest(self._step.abstract)
        if self.state is None:
            self.state = self._step.init(self.layout.put(trained))
        else:
            logger.info("going on from update %d of %d in %s", self.done, self.updates, self.workdir)
        self._read_best()
        if self.done < self.updates:
            need = check_largest(
                self._step,
                self._frozen,
                self.plan,
                self.layout,
                module.config,
                accumulate=accumulate,
                limit=device_bytes(self.layout.mesh.local_devices[0]),
            )
            logger.info("memory of a device at the largest batch: %.2f GB", need / 1e9)
        self._model = Model(module, devices=local) if self._validation else None
        self._bad_clips: set[str] = set()
        self._last_shapes: list[tuple[int, int, int]] = []

    @property
    def done(self) -> int:
        """Updates so far."""
        return int(self.state.step)

    @property
    def compiled_shapes(self) -> int:
        """Shapes of batches that the step was compiled for."""
        return self._step.shapes

    def close(self) -> None:
        """Lets other runs use the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def module(self) -> UrgentMOS:
        """The model as it is now, whole on every device."""
        return nnx.merge(self._graph, *self.layout.gather((self.state.trained, self._frozen)))

    def export(self, folder: Path) -> None:
        """Writes the model folder: of the best checkpoint where the config asks for one, else of the last."""
        step, best = self.done, self._checkpoints.best
        if best is not None and best != step:
            self.state, step = self._checkpoints.restore(best, self._step.abstract), best
            logger.info("exporting update %d, the best by %s", step, self.config.best)
        module = self.module()
        if hosts.is_first():
            data = list(self.config.data.train)
            save_folder(folder, module, {"kind": "training run", "update": step, "data": data})
        hosts.wait_for_all("exported")

    def run(self) -> dict[str, Any]:
        """Trains to the end, and closes.

        Returns:
            The last validation, see `validation.validate`.

        Raises:
            Interrupted: SIGTERM or Ctrl-C came; a checkpoint is saved, the same command goes on.
            NonFiniteLoss: gradients were not finite in three updates in a row; the last checkpoint is good.
            TooManyBadItems: more clips failed to load than `data.most_bad` allows.
            CheckpointError: a checkpoint could not be written.
            DataWorkerLost: processes that decode are killed or stuck again and again.
            OutOfMemory: a device ran out of memory.
            HostLost: another host has ended.
        """
        log = RunLog(self.workdir, self.done, self.updates, self._schedule, writes=hosts.is_first())
        interruption = hosts.Interruption()
        try:
            with interruption.caught():
                return self._run(log, interruption)
        except jax.errors.JaxRuntimeError as error:
            explained = out_of_memory(self._last_shapes, error) or hosts.lost(error)
            if explained is None:
                raise
            raise explained from error
        finally:
            log.close()
            # What is being written is finished, also where something else has gone wrong.
            try:
                self._checkpoints.wait()
            finally:
                self.close()

    def _run(self, log: RunLog, interruption: hosts.Interruption) -> dict[str, Any]:
        results: dict[str, Any] = {}
        config, start = self.config, self.done
        accumulate = config.batch.accumulate
        batches = LoadedBatches(
            self.plan,
            start * accumulate,
            self.updates * accumulate,
            workers=config.data.workers,
            rows=self.layout.rows,
        )
        try:
            for update in range(start + 1, self.updates + 1):
                with log.waiting():
                    group = [next(batches) for _ in range(accumulate)]
                self._note_skipped(group)
                arrays = [self.layout.put_rows(batch["arrays"]) for batch in group]
                self._last_shapes = [batch["shape"] for batch in group]
                self.state, report = self._step(self.state, self._frozen, arrays)
                log.add(update, report, group)
                self._checkpoints.check()
                stop = interruption.after(update)
                save, check, show = (
                    stop or update == self.updates or update % every == 0
                    for every in (config.save_every, config.validate_every, config.log_every)
                )
                check = check and self._validation and not (stop and update < self.updates)
                save = save or (check and bool(config.best))
                if save or check or show:
                    log.flush()
                    self._check_finite(log)
                    self._check_skipped()
                if save:
                    self._checkpoints.save(update, self.state)
                if check:
                    results = self._validate(log)
                if save or check:
                    log.restart_clock()
                if stop and update < self.updates:
                    self._checkpoints.wait()
                    name = signal.Signals(interruption.signal).name
                    raise Interrupted(
                        interruption.signal,
                        f"{name}: update {update} of {self.updates} is saved; the same command goes on",
                    )
            self._checkpoints.wait()
        finally:
            batches.close()
        return results

    # What a run starts from.

    def _read_data(self, metrics: dict[str, Any]) -> None:
        data = self.config.data
        root, audio_root = absolute_path(data.root), Path(data.audio_root) if data.audio_root else None
        train, valid = ([find_source(name, root) for name in names] for names in (data.train, data.valid))
        if both := {str(s.path.resolve()) for s in train} & {str(s.path.resolve()) for s in valid}:
            raise ConfigError(f"data: {', '.join(sorted(both))} in both data.train and data.valid")
        self.data = read_training_set(train, metrics, audio_root=audio_root)
        self._validation = read_validation_sets(
            valid, metrics, audio_root=audio_root, scope=data.pairing_scope, seed=self.config.seed
        )
        if faults := overlaps([[source.path for source in part] for part in (train, valid)], audio_root=audio_root):
            raise ManifestError(faults)
        labels = ", ".join(f"{name} {count}" for name, count in self.data.label_counts().items())
        logger.info("%d clips, %.2f h, labels: %s", len(self.data.uids), self.data.hours, labels)
        if self.data.clipped:
            logger.warning("labels outside their range, clipped: %s", dict(self.data.clipped))
        if cut := int((self.data.seconds > data.max_seconds).sum()):
            logger.warning("%d clips are longer than %g s and are cut", cut, data.max_seconds)

    def _fingerprint(self) -> dict[str, str]:
        """What hosts must have in common to form the same batches and the same validation."""
        sets = {"data.train": self.data} | {one.name: one.data for one in self._validation}
        arrays = ("seconds", "labels", "corpora", "references", "pairs", "cmos")
        return {
            name: hashlib.sha256(
                json.dumps(data.uids).encode() + b"".join(getattr(data, array).tobytes() for array in arrays)
            ).hexdigest()[:16]
            for name, data in sets.items()
        }

    def _check_lengths(self) -> None:
        longest, most = max_samples(with_sizes(self.config.model)), self.config.data.max_seconds
        if longest is not None and most * SAMPLE_RATE_HZ > longest:
            raise ConfigError(
                f"data.max_seconds is {most:g}, an encoder takes {longest / SAMPLE_RATE_HZ:g} s; set it to that: "
                f"longer clips are then cut, at a place drawn anew each epoch"
            )

    def _make_plan(self, module: UrgentMOS) -> Plan:
        config = self.config
        plan = Plan(
            self.data,
            scope=config.data.pairing_scope,
            seconds=config.batch.seconds,
            most=config.batch.clips,
            max_seconds=config.data.max_seconds,
            min_samples=min_samples(module.config),
            seed=config.seed,
        )
        one, two = (plan.padding_efficiency(sides) for sides in (1, 2))
        shapes = plan.shapes()
        logger.info(
            "%d batches an epoch, %d shapes, padding efficiency %.2f one-sided, %.2f two-sided",
            *(len(plan.epoch(0)), len(shapes), one, two),
        )
        if wasted := max(-rows % self.layout.rows.axis / rows for rows, _, _ in shapes):
            logger.warning(
                "up to %.0f %% empty rows, since %d devices share batches of few rows; raise batch.seconds",
                *(100 * wasted, self.layout.rows.axis),
            )
        return plan

    # What a run reports.

    def _note_skipped(self, group: list[dict[str, Any]]) -> None:
        """Clips that could not be loaded: to the console once, to `skipped.jsonl` each time."""
        skipped = [one for batch in group for one in batch["skipped"]]
        if not skipped:
            return
        append_json_lines(self._skipped_file, skipped)
        for one in skipped:
            if one["uid"] not in self._bad_clips:
                self._bad_clips.add(one["uid"])
                logger.warning("skipped %s: %s", one["uid"], one["message"])
        if hosts.count() == 1:
            self._check_skipped()

    @property
    def _skipped_file(self) -> Path:
        return self.workdir / ("skipped.jsonl" if hosts.is_first() else f"skipped.{jax.process_index()}.jsonl")

    def _check_skipped(self) -> None:
        """Stops where too many clips failed, on all hosts at the same update."""
        bad = {uid for of_host in hosts.gather_json(sorted(self._bad_clips)) for uid in of_host}
        most = 0 if self._strict else max(1, self.config.data.most_bad * len(self.data.uids))
        if len(bad) > most:
            allowed = "--strict allows none" if self._strict else f"data.most_bad allows {most:.0f}"
            raise TooManyBadItems(
                f"{len(bad)} of {len(self.data.uids)} clips failed to load, {allowed}; they are listed in "
                f"{self._skipped_file}"
            )

    def _check_finite(self, log: RunLog) -> None:
        if log.bad_in_a_row >= MOST_BAD_IN_A_ROW:
            raise NonFiniteLoss(
                f"the gradients of {log.bad_in_a_row} updates in a row up to {self.done} were not finite; their clips "
                f"are in {log.not_finite}. The last checkpoint is good: lower optimizer.learning_rate, or look at "
                f"these clips"
            )

    def _validate(self, log: RunLog) -> dict[str, Any]:
        whole = nnx.split(self.module())[1]
        if hosts.count() > 1:
            whole = jax.tree.map(lambda x: x.addressable_data(0), whole)
        results = validate(self._model.with_params(whole), self._validation)
        logger.info("validation at update %d\n%s", self.done, format_table(results))
        flat = {f"{s}/{m}/{k}": v for s, metrics in results.items() for m, vs in metrics.items() for k, v in vs.items()}
        log.write(self.done, "valid", flat)
        log.flush()
        if self.config.best:
            self._note_best(flat.get(self.config.best, math.nan))
        return results

    # The best checkpoint.

    @property
    def _best_file(self) -> Path:
        return self.workdir / "best.json"

    def _read_best(self) -> None:
        self._best_value = math.nan
        if self.config.best and self._best_file.exists():
            best = json.loads(self._best_file.read_text())
            if best["figure"] == self.config.best and best["update"] in self._checkpoints.steps():
                self._checkpoints.best, self._best_value = best["update"], best["value"]

    def _note_best(self, value: float) -> None:
        lower = self.config.best.endswith("mse")
        worse = not math.isnan(self._best_value) and (value >= self._best_value if lower else value <= self._best_value)
        if math.isnan(value) or worse:
            return
        self._best_value, self._checkpoints.best = value, self.done
        if hosts.is_first():
            best = {"figure": self.config.best, "value": value, "update": self.done}
            write_text(self._best_file, json.dumps(best) + "\n")
