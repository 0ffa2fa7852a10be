"""Shapes of later batches are compiled beside the first, each once; what compiling raises is raised in its turn."""

import threading

import jax
import pytest

from tests.helpers.corpus import speech_like
from urgentmos_jax.scoring.ahead import CompiledAhead
from urgentmos_jax.scoring.batching import Batch
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.model_folder import load_folder

BATCHES = [Batch((0,), 1, 30), Batch((1, 2), 2, 20), Batch((3,), 1, 30), Batch((4,), 1, 10)]


def test_in_the_order_of_the_batches_but_the_first():
    compiled, seen = {(1, 10)}, []
    with CompiledAhead(compiled, lambda shape: seen.append((shape, threading.current_thread().name))) as ahead:
        ahead.announce(BATCHES)
        for batch in BATCHES:
            ahead.wait(batch)
    ((shape, thread),) = seen
    assert shape == (2, 20) and "compile" in thread
    assert compiled == {(1, 30), (2, 20), (1, 10)}


def test_what_compiling_raises_is_raised_where_the_batch_is_waited_for():
    def fail(shape: tuple[int, int]) -> None:
        raise ValueError(f"no {shape}")

    with CompiledAhead(set(), fail) as ahead:
        ahead.announce(BATCHES)
        ahead.wait(BATCHES[0])
        with pytest.raises(ValueError, match=r"no \(2, 20\)"):
            ahead.wait(BATCHES[1])


@pytest.mark.slow
def test_each_shape_is_compiled_once(model_folder):
    module, _ = load_folder(model_folder)
    model = Model(module, devices=jax.devices()[:1], batch_seconds=2.0)
    model.engine._samples_a_second = 0.0  # Compiling costs nothing, so padding decides alone.
    clips = [speech_like(seed, size) for seed, size in enumerate([9000, 14000, 19000, 30000])]
    compiled = []

    def listen(event: str, seconds: float, **about) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(threading.current_thread().name.split("_")[0])

    model.score(clips[:1], sample_rate=16000)  # What else is compiled at first.
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        rows = model.score(clips[1:], sample_rate=16000)
        assert len(model.compiled_shapes) == 4
        assert sorted(compiled) == ["MainThread", "compile", "compile"]
        assert model.score(clips[1:], sample_rate=16000) == rows and len(compiled) == 3
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
