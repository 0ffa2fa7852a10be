"""Collectives and host transfers in the text of compiled programs."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from urgentmos_jax.accelerators.hlo import Collective, by_kind, collectives, host_transfers
from urgentmos_jax.accelerators.plan import needed_bytes

# As libtpu 0.0.42.1 writes them, cut down: a loop of twelve with a collective in three parts, and a reduce-scatter.
TEXT = """HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %s = f32[] add(%a, %a)
}

%begin (p: bf16[4,8]) -> (bf16[4,8], bf16[16,8]) {
  %p = bf16[4,8]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %all-gather.1 = bf16[16,8]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=5, replica_groups=[4,4]<=[16], dimensions={0}
  ROOT %c = (bf16[4,8]{1,0}, bf16[16,8]{1,0}) custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%end (q: bf16[4,8]) -> bf16[16,8] {
  %q = bf16[4,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[16,8]{1,0} all-gather(%q), channel_id=5, replica_groups=[4,4]<=[16], dimensions={0}
}

%all-reduce-scatter.7 (x: f32[64]) -> f32[4] {
  %x = f32[64]{0} parameter(0)
  %all-reduce.9 = f32[64]{0} all-reduce(%x), channel_id=8, replica_groups=[1,16]<=[16], to_apply=%add
  ROOT %cut = f32[4]{0} slice(%all-reduce.9), slice={[0:4]}
}

%condition (c: (s32[], bf16[4,8])) -> pred[] {
  %twelve = s32[]{:T(128)} constant(12)
  %c = (s32[]{:T(128)}, bf16[4,8]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %twelve), direction=LT
}

%body (b: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %b = (s32[]{:T(128)}, bf16[4,8]{1,0}) parameter(0)
  %f = (bf16[4,8]{1,0}, bf16[16,8]{1,0}) fusion(%b), kind=kCustom, calls=%begin
  %g = bf16[16,8]{1,0} fusion(%f), kind=kCustom, calls=%end
  ROOT %t = (s32[]{:T(128)}, bf16[4,8]{1,0}) tuple(%b, %g)
}

ENTRY %main_spmd (x: f32[64], y: bf16[4,8]) -> f32[4] {
  %x = f32[64]{0} parameter(0)
  %y = bf16[4,8]{1,0} parameter(1)
  %w = (s32[]{:T(128)}, bf16[4,8]{1,0}) while(%y), condition=%condition, body=%body, metadata={op_name="scan/callback"}
  %all-reduce.3 = (f32[64]{0:T(128)}, bf16[3]{0}, /*index=2*/pred[]) all-reduce(%x, %x, %x), channel_id=2, to_apply=%add
  %p = (f32[64]{0}, f32[64]{0}, u32[], u32[]) collective-permute-start(%x), channel_id=3
  ROOT %r = f32[4]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.7
}
"""


def test_collectives_of_a_program():
    found = collectives(TEXT)
    assert found == [
        Collective("all-gather", 16 * 8 * 2, 12),
        Collective("all-reduce", 64 * 4 + 3 * 2 + 1, 1),
        Collective("collective-permute", 64 * 4, 1),
        Collective("reduce-scatter", 64 * 4, 1),
    ]
    assert by_kind(found)["all-gather"] == (12, 12 * 256)
    with pytest.raises(ValueError, match="condition has no constant length"):
        collectives(TEXT.replace("constant(12)", "parameter(1)"))


def test_host_transfers_are_found():
    assert host_transfers(TEXT) == []
    call = '  %m = f32[64]{0} custom-call(%x), custom_call_target="MoveToHost"\n  %o = token[] outfeed(%x, %x)\n'
    assert host_transfers(TEXT.replace("  %p = (f32", call + "  %p = (f32")) == ["custom-call m", "outfeed o"]


def test_a_scan_over_eight_devices():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:8])
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))

    def step(h, weights):
        return jax.lax.scan(lambda h, w: (h + (h @ w).mean(0), None), h, weights)[0]

    shapes = ((16, 4), np.float32, rows), ((5, 4, 4), np.float32, whole)
    x = [jax.ShapeDtypeStruct(shape, dtype, sharding=at) for shape, dtype, at in shapes]
    text = jax.jit(step, out_shardings=rows).lower(*x).compile().as_text()
    assert by_kind(collectives(text)) == {"all-reduce": (5, 5 * 4 * 4)}


def test_what_the_compiler_says_that_it_needs():
    message = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (43.63G)"
    assert needed_bytes(f"{message} exceeds available HBM (15.75G).") == 43.63 * 2**30
    assert needed_bytes("Ran out of memory in memory space hbm. Used 512.5M of 15.75G hbm.") == 512.5 * 2**20
    assert needed_bytes("RESOURCE_EXHAUSTED") == float("inf")
