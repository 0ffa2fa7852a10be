"""The loop of a run: updates, checkpoints and validations, and where it resumes after it was stopped."""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from urgentmos_jax.data.batching import BatchShape
from urgentmos_jax.data.feature_cache import DamagedStates, FeatureCacheError
from urgentmos_jax.data.loader import DataWorkerLost, LoadedBatches
from urgentmos_jax.data.reading import BatchReader
from urgentmos_jax.files import InUse, Lock, absolute_path, is_remote, write_text
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.windows import min_samples
from urgentmos_jax.training import topology
from urgentmos_jax.training.checkpoints import BestCheckpoint, CheckpointError, Checkpoints, complete_steps
from urgentmos_jax.training.config import differences, read_config
from urgentmos_jax.training.data_record import check_same_data, licences
from urgentmos_jax.training.datasets import check_lengths, fingerprint, make_plan, read_datasets
from urgentmos_jax.training.feature_cache_builder import open_feature_cache
from urgentmos_jax.training.interruption import Interrupted, Interruption
from urgentmos_jax.training.logs import RunLog
from urgentmos_jax.training.memory import OutOfMemory, as_out_of_memory, check_largest, device_bytes
from urgentmos_jax.training.sharding import Layout
from urgentmos_jax.training.skipped import SkippedClips, TooManyBadItems
from urgentmos_jax.training.start import check_same_config, start_model, with_sizes
from urgentmos_jax.training.step import (
    MAX_BAD_IN_A_ROW,
    TrainState,
    TrainStep,
    learning_rate,
    make_optimizer,
    split_module,
)
from urgentmos_jax.training.validation import format_table, validate
from urgentmos_jax.weights.model_folder import is_model_folder, save_folder

logger = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """Gradients were not finite several times in a row."""


# What may end a run before its time, each with a message for its user.
STOPPED: tuple[type[Exception], ...] = (
    NonFiniteLoss,
    TooManyBadItems,
    CheckpointError,
    DataWorkerLost,
    OutOfMemory,
    InUse,
    FeatureCacheError,
    DamagedStates,
    topology.HostLost,
)


class Trainer:
    """One run in one folder. A folder with checkpoints is resumed.

    It starts from the run in its folder, else from the model that `start_from` names, else from pretrained encoders,
    else from nothing, see `training.start`. The folder gets `config.json` and `data.json`; `start`, the model before
    the first update (so that resuming needs neither network nor the folders of pretrained encoders); `checkpoints`;
    `metrics.jsonl` and `tensorboard`; `skipped.jsonl` where clips failed to load, `not_finite.jsonl` where updates were
    left out. No other run may use it until this one has ended, or `close`.

    Args:
        values: The config, see `training.config`.
        workdir: The run's folder, the same for all hosts; local or `gs://`.
        name: Of the config file, for messages.
        devices: That the mesh is made of; None = those of all hosts.
        strict: Stop where the newest checkpoint is damaged or a clip fails to load, instead of going on without it.
        allow_changed_data: Resume a run though its manifests have changed, and tell what has.
        confirm: Is asked before much is written, the feature cache; None = no.

    Raises:
        ConfigError: keys are unknown, missing or wrong; or the folder holds a run of another config.
        ManifestError, FileNotFoundError: the manifests cannot be used.
        DataChanged: the folder holds a run on other data.
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
        allow_changed_data: bool = False,
        confirm: Callable[[str], bool] | None = None,
    ):
        self.config = read_config(values, name=name)
        self.layout = Layout(self.config.mesh, devices)
        self.workdir, self._strict = absolute_path(workdir), strict
        values = values.to_dict() if hasattr(values, "to_dict") else dict(values)
        # As it comes back from JSON, to be compared with what does.
        given = json.loads(json.dumps(values))
        check_same_config(self.workdir, given)
        self.data, self._validation = read_datasets(self.config)
        if not is_model_folder(self.workdir / "start"):
            check_lengths(self.config, with_sizes(self.config.model, start_from=self.config.start_from))
        topology.require_same(given, differences, "the configs")
        topology.require_same(fingerprint(self.data, self._validation), topology.differing_values, "the manifests")
        self.workdir.mkdir(parents=True, exist_ok=True)
        self._lock: Lock | None = None
        if topology.is_first() and not is_remote(self.workdir):
            self._lock = Lock(self.workdir / ".lock", held=self.workdir, option="--workdir")
        try:
            checkpoints = self.workdir / "checkpoints"
            check_same_data(
                self.workdir,
                self.data,
                self._validation,
                begun=checkpoints.is_dir() and bool(complete_steps(checkpoints)),
                allow_changed=allow_changed_data,
            )
            self._prepare(given, confirm or (lambda question: False))
        except BaseException:
            self.close()
            raise

    def _prepare(self, values: dict[str, Any], confirm: Callable[[str], bool]) -> None:
        config = self.config
        if topology.is_first():
            # As JSON of Python: a range of a metric may be infinite.
            write_text(self.workdir / "config.json", json.dumps(values, indent=1) + "\n")
        module = topology.first_host_first(lambda: start_model(config, self.workdir))
        local = [device for device in self.layout.mesh.devices.flat if device.process_index == jax.process_index()]
        self.reader = self._make_reader(module, confirm, local)
        updates_an_epoch = len(self.reader.plan.epoch(0)) / config.batch.accumulate
        self.updates = config.updates or math.ceil(config.epochs * updates_an_epoch)
        self._graph, trained, frozen = split_module(module, remat=config.remat, layout=self.layout)
        self._step = TrainStep(
            self._graph,
            trained,
            module.config,
            make_optimizer(config.optimizer, self.updates),
            config.loss,
            self.layout,
            seed=config.seed,
            precision=config.precision,
        )
        self.layout.report_large((trained, frozen))
        self._frozen = self.layout.put(frozen)
        self._checkpoints = Checkpoints(
            self.workdir / "checkpoints", keep=config.keep, config=values, differ=differences, strict=self._strict
        )
        self.state = self._restored(trained)
        self._best = BestCheckpoint(self.workdir / "best.json", config.best, self._checkpoints)
        if self.done < self.updates:
            self._check_memory(module)
        self._model = Model(module, devices=local) if self._validation else None
        self._skipped = SkippedClips(
            self.workdir, len(self.data.uids), max_bad_fraction=config.data.most_bad, strict=self._strict
        )
        self._last_shapes: list[BatchShape] = []

    def _make_reader(
        self, module: UrgentMOS, confirm: Callable[[str], bool], local: Sequence[jax.Device]
    ) -> BatchReader:
        plan = make_plan(self.config, self.data, self.layout.rows.axis)
        reader = BatchReader(plan, min_samples=min_samples(module.config))
        if not self.config.data.feature_cache:
            return reader
        folder = Path(self.config.data.feature_cache)
        return reader.with_states(open_feature_cache(folder, module, reader, confirm=confirm, devices=local))

    def _restored(self, trained: nnx.State) -> TrainState:
        """The newest checkpoint, or the state before the first update."""
        if topology.is_first():
            self._checkpoints.remove_unfinished()
            self._checkpoints.check_space(self._step.abstract)
        topology.wait_for_all("checkpoints")
        state = self._checkpoints.restore_newest(self._step.abstract)
        if state is None:
            return self._step.init(self.layout.put(trained))
        logger.info("resuming from update %d of %d in %s", int(state.step), self.updates, self.workdir)
        return state

    def _check_memory(self, module: UrgentMOS) -> None:
        need = check_largest(
            self._step,
            self._frozen,
            self.reader,
            self.layout,
            module.config,
            accumulate=self.config.batch.accumulate,
            limit=device_bytes(self.layout.mesh.local_devices[0]),
        )
        logger.info("memory of a device at the largest batch: %.2f GB", need / 1e9)

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
        if topology.is_first():
            data = list(self.config.data.train)
            origin = {"kind": "training run", "update": step, "data": data}
            if found := licences(absolute_path(self.config.data.root), data):
                origin["licences"] = found
            save_folder(folder, module, origin)
        topology.wait_for_all("exported")

    def run(self) -> dict[str, Any]:
        """Trains to the end, and closes.

        Returns:
            The last validation, see `validation.validate`.

        Raises:
            Interrupted: SIGTERM or Ctrl-C came; a checkpoint is saved, the same command resumes the run.
            NonFiniteLoss: gradients were not finite in three updates in a row; the last checkpoint is good.
            TooManyBadItems: more clips failed to load than `data.most_bad` allows.
            CheckpointError: a checkpoint could not be written.
            DataWorkerLost: processes that decode are killed or stuck again and again.
            OutOfMemory: a device ran out of memory.
            HostLost: another host has ended.
        """
        schedule = learning_rate(self.config.optimizer, self.updates)
        log = RunLog(self.workdir, self.done, self.updates, schedule, writes=topology.is_first())
        interruption = Interruption()
        try:
            with interruption.caught():
                return self._run(log, interruption)
        except jax.errors.JaxRuntimeError as error:
            explained = as_out_of_memory(error, self._last_shapes) or topology.as_host_lost(error)
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

    def _run(self, log: RunLog, interruption: Interruption) -> dict[str, Any]:
        results: dict[str, Any] = {}
        config, start = self.config, self.done
        accumulate = config.batch.accumulate
        batches = LoadedBatches(
            self.reader,
            start * accumulate,
            self.updates * accumulate,
            workers=config.data.workers,
            rows=self.layout.rows,
        )
        try:
            for update in range(start + 1, self.updates + 1):
                with log.waiting():
                    group = [next(batches) for _ in range(accumulate)]
                self._skipped.add(group)
                arrays = [self.layout.put_rows(batch.arrays) for batch in group]
                self._last_shapes = [batch.shape for batch in group]
                self.state, report = self._step(self.state, self._frozen, arrays)
                log.add(update, report, group)
                self._checkpoints.check()
                stop = interruption.after(update)
                save, check, show = (
                    bool(stop) or update == self.updates or update % every == 0
                    for every in (config.save_every, config.validate_every, config.log_every)
                )
                check = check and bool(self._validation) and not (stop and update < self.updates)
                save = save or (check and bool(config.best))
                if save or check or show:
                    log.flush()
                    self._check_finite(log)
                    self._skipped.check()
                if save:
                    self._checkpoints.save(update, self.state)
                if check:
                    results = self._validate(log)
                if save or check:
                    log.restart_clock()
                if stop and update < self.updates:
                    self._checkpoints.wait()
                    raise Interrupted(stop, f"update {update} of {self.updates} is saved; the same command resumes it")
            self._checkpoints.wait()
        finally:
            batches.close()
        return results

    def _check_finite(self, log: RunLog) -> None:
        if log.bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise NonFiniteLoss(
                f"the gradients of {log.bad_in_a_row} updates in a row up to {self.done} were not finite; their clips "
                f"are in {log.not_finite}. The last checkpoint is good: lower optimizer.learning_rate, or look at "
                f"these clips"
            )

    def _validate(self, log: RunLog) -> dict[str, Any]:
        assert self._model is not None
        whole = nnx.split(self.module())[1]
        if topology.host_count() > 1:
            whole = jax.tree.map(lambda x: x.addressable_data(0), whole)
        self._model = self._model.with_params(whole)
        results = validate(self._model, self._validation)
        logger.info("validation at update %d\n%s", self.done, format_table(results))
        flat = {f"{s}/{m}/{k}": v for s, metrics in results.items() for m, vs in metrics.items() for k, v in vs.items()}
        log.write(self.done, "valid", flat)
        log.flush()
        self._best.note(self.done, flat)
        return results
