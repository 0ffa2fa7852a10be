"""What a program would take of a slice of TPUs, by XLA's own plan of it and by its operations; nothing is run."""

import dataclasses
import math
import re
import time
from collections.abc import Mapping, Sequence

import jax

from urgentmos_jax.accelerators.chips import Slice, libtpu_version
from urgentmos_jax.accelerators.hlo import by_kind, collectives, host_transfers
from urgentmos_jax.accelerators.work import Work, count_work

# Of the peak: what the audio seconds a second are told at.
SHARE_OF_PEAK = 0.4
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of one shape of batches on one slice.

    Args:
        topology: `str` of the slice.
        chips: Of the slice.
        mesh: Sizes of the axes.
        batch: What it is, for people.
        audio_seconds: Of the batch, padding included.
        memory: Bytes that a chip needs; where XLA refused the program, what it said of it.
        limit: Bytes that a chip gives.
        layout: Bytes of a chip by what and how it is laid out.
        exchanged: Number and bytes of the collectives of a step by kind; empty where XLA refused the program.
        host: Transfers to and from the host during a step.
        work: Operations of a step, of all chips together.
        compile_seconds: Of XLA, on this machine.
        libtpu: Version of the compiler.
    """

    topology: str
    chips: int
    mesh: dict[str, int]
    batch: str
    audio_seconds: float
    memory: float
    limit: float
    layout: dict[str, int]
    exchanged: dict[str, tuple[int, int]]
    host: tuple[str, ...]
    work: Work
    compile_seconds: float
    libtpu: str

    @property
    def fits(self) -> bool:
        """Whether a chip has the memory."""
        return self.memory <= self.limit

    @property
    def min_seconds(self) -> float:
        """Of a step: at the peak of the matrix units, or of the memory."""
        chip = Slice.parse(self.topology).chip
        return self.work.seconds(chip.flops * self.chips, chip.bandwidth * self.chips)

    @property
    def audio_rate(self) -> float:
        """Audio seconds a second at `SHARE_OF_PEAK` of the matrix units."""
        peak = Slice.parse(self.topology).chip.flops * self.chips
        return self.audio_seconds * SHARE_OF_PEAK * peak / self.work.passes


def compile_plan(
    programs: Sequence[jax.stages.Traced],
    where: Slice,
    *,
    mesh: Mapping[str, int],
    batch: str,
    audio_seconds: float,
    layout: Mapping[str, int],
    beside: int = 0,
    options: Mapping[str, str | bool | float] | None = None,
) -> Plan:
    """Compiles the programs of a step for a slice.

    Args:
        programs: Traced with shapes that lie on its devices; the first is the largest, the others follow it.
        where: The slice.
        mesh, batch, audio_seconds, layout: See `Plan`.
        beside: Bytes of a chip that are no argument of the first program and stay all the same.
        options: Of the compiler.
    """
    work = sum((count_work(program.jaxpr) for program in programs), Work())
    start = time.perf_counter()
    memory = 0.0
    texts: list[str] = []
    for program, more in zip(programs, (beside, *[0] * len(programs)), strict=False):
        try:
            compiled = program.lower().compile(compiler_options=dict(options) if options else None)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            memory, texts = max(memory, needed_bytes(str(error)) + more), []
            break
        found = compiled.memory_analysis()
        need = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
        need += found.generated_code_size_in_bytes - found.alias_size_in_bytes
        memory = max(memory, need + more)
        texts.append(compiled.as_text() or "")
    every = [one for text in texts for one in collectives(text)]
    return Plan(
        topology=str(where),
        chips=where.chips,
        mesh=dict(mesh),
        batch=batch,
        audio_seconds=audio_seconds,
        memory=memory,
        limit=where.chip.available,
        layout=dict(layout),
        exchanged=by_kind(every),
        host=tuple(name for text in texts for name in host_transfers(text)),
        work=work,
        compile_seconds=time.perf_counter() - start,
        libtpu=libtpu_version(),
    )


def needed_bytes(message: str) -> float:
    """What XLA says that a program needs where it refuses it; infinite where it does not say."""
    found = re.search(r"\(([\d.]+)([KMGT])\) exceeds|Used ([\d.]+)([KMGT]) of", message)
    if not found:
        return float("inf")
    number, unit = found[1] or found[3], found[2] or found[4]
    return float(number) * _UNITS[unit]


def format_plan(plan: Plan) -> list[str]:
    """Lines for people."""
    chip = Slice.parse(plan.topology).chip
    axes = " x ".join(f"{name} {size}" for name, size in plan.mesh.items())
    several = f"{plan.chips} chip{'s' if plan.chips > 1 else ''}"
    if math.isinf(plan.memory):
        memory = f"more than the {_gb(plan.limit)} of a chip"
    else:
        least = "" if plan.fits or plan.exchanged else "at least "
        memory = f"{least}{_gb(plan.memory)} of a chip, which has {_gb(plan.limit)}"
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    lines = [
        f"{plan.topology}: {several} of {chip.flops / 1e12:g} TFLOP/s and {chip.bandwidth / 1e9:g} GB/s, {axes}",
        f"  batch        {plan.batch}",
        f"  memory       {memory}: {verdict}",
    ]
    lines += [
        f"  {'of it' if not i else '':<12} {_gb(size)} {what}" for i, (what, size) in enumerate(plan.layout.items())
    ]
    if plan.exchanged or plan.fits:
        told = [f"{number} {kind} of {size / 1e6:,.1f} MB" for kind, (number, size) in plan.exchanged.items()]
        lines.append(f"  collectives  {'; '.join(told) or 'none'}, a step")
        lines.append(f"  host         {', '.join(plan.host) or 'nothing is exchanged during a step'}")
    bound = "the matrix units" if plan.work.passes / chip.flops >= plan.work.bytes / chip.bandwidth else "the memory"
    each = plan.work * (1 / plan.chips)
    lines += [
        f"  work         {each.flops / 1e12:,.2f} TFLOP a chip and step ({each.passes / 1e12:,.2f} in bfloat16), "
        f"{_gb(each.bytes)} read and written",
        f"  roofline     at least {1e3 * plan.min_seconds:,.1f} ms a step, bound by {bound}",
        f"  speed        {plan.audio_rate:,.0f} audio seconds a second at {100 * SHARE_OF_PEAK:.0f} % of the peak",
        f"  compiled     in {plan.compile_seconds:.0f} s by libtpu {plan.libtpu}",
    ]
    return lines


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
