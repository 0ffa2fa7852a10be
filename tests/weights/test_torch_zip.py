"""The torch file reader: what torch writes is read exactly, all else is refused and nothing of it runs."""

import encodings.cp437  # noqa: F401  # Of zipfile, at the first name that it reads.
import itertools
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.helpers.torch_writer import SIX, Raw, call, checkpoint, dump, entries, glob, storage, tensor, zipped
from urgentmos_jax.weights.torch_zip import UnsafeCheckpoint, read_torch_file

GOLDEN = Path(os.environ.get("URGENTMOS_GOLDEN", Path(__file__).parents[1] / "golden"))
CASES = ["c1m5-mean-base", "c3m9-attentive-large", "c1m3-token-base", "c1m2-unfrozen-large"]
DTYPES = {
    "Float": np.float32,
    "BFloat16": ml_dtypes.bfloat16,
    "Half": np.float16,
    "Double": np.float64,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}


def read(path: Path, data: bytes):
    path.write_bytes(data)
    return read_torch_file(path)


def leaves(value, prefix=""):
    """Yields (path, leaf) of nested containers."""
    match value:
        case dict():
            children = value.items()
        case list() | tuple():
            children = enumerate(value)
        case _:
            yield prefix, value
            return
    for key, child in children:
        yield from leaves(child, f"{prefix}/{key}")


# What is read.


@pytest.mark.parametrize("case", CASES)
def test_reads_the_authors_checkpoints(case):
    state = read_torch_file(GOLDEN / "model" / case / "model.pt")
    assert set(state) == {"model", "optimizer", "scheduler", "update", "config"}
    assert type(state["update"]) is int
    assert len(state["model"]) > 100
    for key, array in state["model"].items():
        assert isinstance(array, np.ndarray), key
        assert array.dtype == np.float32, key
        assert not np.isnan(array).any(), key
    parameters = {id(array) for array in state["model"].values()}
    assert len(parameters) == len(state["model"])
    sizes = {array.size for array in state["model"].values()}
    for moments in state["optimizer"]["state"].values():
        assert moments["exp_avg"].shape == moments["exp_avg_sq"].shape
        assert moments["exp_avg"].size in sizes


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_equals_torch(case):
    torch = pytest.importorskip("torch")
    path = GOLDEN / "model" / case / "model.pt"
    wanted = dict(leaves(torch.load(path, map_location="cpu", weights_only=True)))
    found = dict(leaves(read_torch_file(path)))
    assert list(found) == list(wanted)
    for key, value in wanted.items():
        if isinstance(value, torch.Tensor):
            assert found[key].shape == tuple(value.shape), key
            np.testing.assert_array_equal(found[key], value.numpy(), err_msg=key)
        else:
            assert found[key] == value, key


@pytest.mark.torch
def test_equals_torch_on_unusual_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = module.state_dict()
    state |= {"transposed": base.T, "strided": base[1::2, ::3], "empty": torch.zeros(0, 3)}
    state |= {"scalar": torch.tensor(3), "parameter": torch.nn.Parameter(torch.ones(2))}
    state |= {"bool": torch.tensor([True, False]), "bfloat16": base.bfloat16(), "half": base.half()}
    torch.save({"state": state, "metadata": module.state_dict()}, tmp_path / "a.pt")
    found = read_torch_file(tmp_path / "a.pt")["state"]
    assert list(found) == list(state)
    for key, value in state.items():
        value = value.detach()
        assert found[key].shape == tuple(value.shape), key
        assert str(found[key].dtype) == str(value.dtype).removeprefix("torch."), key
        np.testing.assert_array_equal(found[key].astype(np.float64), value.double().numpy(), err_msg=key)
    assert np.shares_memory(found["transposed"], found["strided"])


@pytest.mark.parametrize("kind", DTYPES)
def test_reads_every_dtype(kind, tmp_path):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(DTYPES[kind])
    found = read(tmp_path / "a.pt", checkpoint(tensor(storage(kind=kind)), array))
    assert found.dtype == array.dtype
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_reads_views_of_a_shared_storage(tmp_path):
    def view(offset, size, stride):
        return tensor(storage(numel=24), offset, size, stride)

    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = [view(0, (4, 6), (6, 1)), view(0, (6, 4), (1, 6)), view(6, (2, 2), (12, 3)), view(23, (), ())]
    found = read(tmp_path / "a.pt", checkpoint(views, base))
    for array, wanted in zip(found, (base, base.T, base[1::2, ::3], base[3, 5]), strict=True):
        np.testing.assert_array_equal(array, wanted)
        assert np.shares_memory(array, found[0])


def test_reads_what_state_dicts_hold(tmp_path):
    metadata = {"_metadata": OrderedDict({"": {"version": 1}})}
    parameter = Raw(call("torch._utils _rebuild_parameter", tensor(), True, OrderedDict()))
    plain = {"a": None, "b": [True, 1.5, -1, 2**40], "c": ("é", ()), 3: {}}
    state = Raw(dump(OrderedDict({"weight": tensor(), "parameter": parameter, "plain": plain})))
    state.opcodes += dump(metadata) + b"b"
    found = read(tmp_path / "a.pt", checkpoint(state))
    assert list(found) == ["weight", "parameter", "plain"]
    assert found["plain"] == plain
    np.testing.assert_array_equal(found["weight"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(found["parameter"], SIX.reshape(2, 3))


def test_reads_odd_but_sound_tensors(tmp_path):
    none = storage(numel=0)
    value = {
        "empty": tensor(none, 0, (0, 3), (3, 1)),
        "empty at the end": tensor(storage("1"), 6, (0,), (1,)),
        "unused strides": tensor(storage("1"), 0, (1, 6), (999, 1)),
        "overlapping": tensor(storage("1"), 0, (2, 3), (1, 1)),
    }
    found = read(tmp_path / "a.pt", checkpoint(value, SIX[:0], SIX))
    assert found["empty"].shape == (0, 3)
    assert found["empty at the end"].shape == (0,)
    np.testing.assert_array_equal(found["unused strides"], SIX[None])
    np.testing.assert_array_equal(found["overlapping"], [[0, 1, 2], [1, 2, 3]])


def test_reads_memoised_objects(tmp_path):
    # Sharing, thirty levels of it, is no bomb: the tree of 2 ** 30 leaves is thirty tuples.
    laughs = b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(30))
    value = {"first": Raw(dump("key") + b"r" + struct.pack("<I", 300)), "laughs": Raw(laughs)}
    value["second"] = Raw(b"j" + struct.pack("<I", 300))
    found = read(tmp_path / "a.pt", checkpoint(value))
    assert found["first"] is found["second"]
    assert len(found["laughs"]) == 2


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "none.pt")
    with pytest.raises(IsADirectoryError):
        read_torch_file(tmp_path)


def test_memory_stays_below_twice_the_file(tmp_path):
    arrays = [np.full(5 * 2**18, n, np.float32) for n in range(6)]
    size = arrays[0].size
    value = {str(n): tensor(storage(str(n), size), 0, (size,), (1,)) for n in range(6)}
    path = tmp_path / "a.pt"
    path.write_bytes(checkpoint(value, *arrays))
    tracemalloc.start()
    found = read_torch_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 30 * 2**20
    assert peak < 2 * path.stat().st_size
    assert [array[-1] for array in found.values()] == list(range(6))


def test_imports_neither_torch_nor_the_unpickler(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(checkpoint({"weight": tensor()}))
    code = """if True:
        import sys, pickle
        from urgentmos_jax.weights.torch_zip import read_torch_file
        def refuse(*args, **kwargs): raise AssertionError("unpickler used")
        pickle.Unpickler = pickle._Unpickler = pickle.load = pickle.loads = refuse
        read_torch_file(sys.argv[1])
        print(sorted(name for name in sys.modules if name.split(".")[0] == "torch"))"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.stdout == "[]\n", result.stderr


# What is refused.

SHELL = "touch {canary}"
CODE = "open({canary!r}, 'w').close()"

# Callables that run code, load files or reach those that do, among them known bypasses of pickle scanners.
GADGETS = {
    "os system": (SHELL,),
    "posix system": (SHELL,),
    "nt system": (SHELL,),
    "os popen": (SHELL,),
    "os execv": ("/usr/bin/touch", ["touch", "{canary}"]),
    "os remove": ("{canary}",),
    "subprocess Popen": (["touch", "{canary}"],),
    "subprocess check_output": (["touch", "{canary}"],),
    "subprocess getoutput": (SHELL,),
    "pty spawn": (["touch", "{canary}"],),
    "commands getoutput": (SHELL,),
    "asyncio.unix_events _UnixSubprocessTransport._start": (SHELL,),
    "asyncio create_subprocess_shell": (SHELL,),
    "builtins eval": (CODE,),
    "builtins exec": (CODE,),
    "builtins open": ("{canary}", "w"),
    "builtins compile": (CODE, "a", "exec"),
    "builtins getattr": ({}, "__class__"),
    "builtins __import__": ("os",),
    "builtins print": ("a",),
    "__builtin__ eval": (CODE,),
    "__builtin__ apply": (CODE,),
    "io open": ("{canary}", "w"),
    "_io FileIO": ("{canary}", "w"),
    "pathlib Path.touch": ("{canary}",),
    "importlib import_module": ("antigravity",),
    "importlib._bootstrap _gcd_import": ("antigravity",),
    "pkgutil resolve_name": ("os:system",),
    "pydoc locate": ("os.system",),
    "runpy run_path": ("{canary}",),
    "runpy _run_code": (CODE, {}),
    "code InteractiveInterpreter": (),
    "code.InteractiveInterpreter runcode": (CODE,),
    "pickle loads": ("a",),
    "_pickle loads": ("a",),
    "pickle Unpickler": ("a",),
    "shelve open": ("{canary}",),
    "dill loads": ("a",),
    "joblib load": ("{canary}",),
    "numpy load": ("{canary}",),
    "numpy.core.multiarray _reconstruct": (),
    "numpy.f2py.crackfortran getlincoef": (CODE, {}),
    "numpy.f2py.crackfortran myeval": (CODE,),
    "numpy.f2py.crackfortran _eval_length": (CODE, {}),
    "numpy.testing._private.utils runstring": (CODE, {}),
    "operator attrgetter": ("system",),
    "operator methodcaller": ("system", SHELL),
    "_operator attrgetter": ("system",),
    "functools partial": ("a",),
    "functools reduce": ("a", "b"),
    "itertools starmap": ("a", "b"),
    "types FunctionType": (),
    "types CodeType": (),
    "marshal loads": ("a",),
    "copyreg _reconstructor": (),
    "copyreg add_extension": ("os", "system", 1),
    "ctypes CDLL": ("libc.so.6",),
    "cffi FFI": (),
    "webbrowser open": ("file:///",),
    "urllib.request urlopen": ("http://localhost",),
    "socket create_connection": ("localhost",),
    "smtplib SMTP": ("localhost",),
    "shutil rmtree": ("{canary}",),
    "pip main": (["install", "a"],),
    "pip._internal main": (["install", "a"],),
    "ensurepip _run_pip": (["install", "a"],),
    "uuid _get_command_stdout": ("touch", "{canary}"),
    "_osx_support _read_output": (SHELL,),
    "_aix_support _read_cmd_output": (SHELL,),
    "imaplib IMAP4_stream": (SHELL,),
    "pydoc pipepager": ("a", SHELL),
    "_pyrepl.pager pipe_pager": ("a", SHELL),
    "cgitb lookup": ("a", None, {}),
    "test.support.script_helper assert_python_ok": ("-c", CODE),
    "venv EnvBuilder.create": ("{canary}",),
    "zipimport zipimporter": ("{canary}",),
    "sqlite3 connect": ("{canary}",),
    "tempfile mkdtemp": (),
    "multiprocessing.util spawnv_passfds": ("a", [], []),
    "concurrent.futures.process _process_worker": (),
    "threading Thread": (),
    "signal signal": (),
    "gc get_objects": (),
    "builtins breakpoint": (),
    "builtins globals": (),
    "builtins type": ("a", (), {}),
    "builtins memoryview": ("a",),
    "_codecs encode": ("a", "latin1"),
    "getpass getpass": (),
    "timeit timeit": (CODE,),
    "bdb Bdb.run": (CODE,),
    "pdb Pdb.runeval": (CODE,),
    "pdb run": (CODE,),
    "cProfile run": (CODE,),
    "cProfile runctx": (CODE, {}, {}),
    "profile run": (CODE,),
    "profile Profile.runctx": (CODE, {}, {}),
    "trace Trace.runctx": (CODE, {}, {}),
    "doctest debug_script": (CODE,),
    "idlelib.autocomplete AutoComplete.fetch_completions": (CODE,),
    "idlelib.calltip get_entity": (CODE,),
    "idlelib.run Executive.runcode": (CODE,),
    "idlelib.pyshell ModifiedInterpreter.runcode": (CODE,),
    "lib2to3.pgen2.grammar Grammar.loads": ("a",),
    "lib2to3.pgen2.pgen ParserGenerator.make_label": ("a",),
    "logging.config _install_loggers": ({}, {}, True),
    "distutils.file_util write_file": ("{canary}", ["a"]),
    "site addsitedir": ("{canary}",),
    "sys settrace": (None,),
    "torch load": ("{canary}",),
    "torch.hub load": ("a", "b"),
    "torch.jit load": ("{canary}",),
    "torch.serialization load": ("{canary}",),
    "torch.storage _load_from_bytes": ("a",),
    "torch._dynamo.guards GuardBuilder.get": (CODE,),
    "torch._inductor.codecache compile_file": ("{canary}",),
    "torch.utils.bottleneck.__main__ run_autograd_prof": (CODE, {}),
    "torch.utils.bottleneck.__main__ run_cprofile": (CODE, {}),
    "torch.utils.cpp_extension load": ("a", ["a"]),
    "torch.jit.unsupported_tensor_ops execWrapper": (CODE, {}, {}),
    "torch._inductor.runtime.compile_tasks _reload_python_module": ("a", "{canary}"),
    "torch.utils.data.datapipes.utils.decoder basichandlers": ("a", "b"),
    "torch._utils _rebuild_nested_tensor": (),
    "torch._utils _rebuild_meta_tensor_no_storage": (),
    "torch._utils _rebuild_parameter_with_state": (tensor(), True, OrderedDict(), {}),
    "torch Size": ([1],),
    "torch.utils.collect_env run": (SHELL,),
    "torch.utils._config_module ConfigModule.load_config": ("a",),
    "torch.fx.experimental.symbolic_shapes ShapeEnv.evaluate_guards_expression": (CODE,),
    "torch.distributed.rpc RemoteModule": (),
    "torch._utils _rebuild_tensor": (storage(), 0, (6,), (1,)),
    "torch._utils _rebuild_tensor_v3": (storage(), 0, (6,), (1,)),
    "torch._utils _rebuild_sparse_tensor": (0, ()),
    "torch._utils _rebuild_qtensor": (storage(), 0, (6,), (1,), (), False, OrderedDict()),
    "torch._tensor _rebuild_from_type_v2": (None, None, (), {}),
    "torch.nn.modules.linear Linear": (2, 3),
    "__torch__.model Model": (),
    "collections OrderedDict.__init__.__globals__": (),
    "collections OrderedDict.__reduce__": (),
    "collections.abc OrderedDict": (),
    "collections defaultdict": (),
    "collections namedtuple": ("a", "b"),
    "torch ComplexFloatStorage": (),
    "torch.storage UntypedStorage": (),
    "torch QInt8Storage": (),
    "torch FloatStorage.from_file": ("{canary}", True, 1),
}


def fill(value, canary: str):
    """Puts the path of the canary file into the arguments of a gadget."""
    if isinstance(value, str):
        return value.format(canary=canary)
    if isinstance(value, list | tuple):
        return type(value)(fill(item, canary) for item in value)
    return value


def assert_refused(path: Path, data: bytes, *named: str):
    """The file raises UnsafeCheckpoint naming it and the cause, and leaves no file, module or large array."""
    path.write_bytes(data)
    before = set(path.parent.iterdir())
    modules = set(sys.modules)
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeCheckpoint) as caught:
            read_torch_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for text in (str(path), *named):
        assert text in str(caught.value)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 2000
    assert set(path.parent.iterdir()) == before
    assert set(sys.modules) == modules
    assert peak < 2 * len(data) + 2**22


@pytest.mark.parametrize("name", GADGETS)
def test_refuses_globals_before_building(name, tmp_path):
    arguments = fill(GADGETS[name], str(tmp_path / "canary"))
    # A tensor before it would show a missing storage, were anything built.
    value = [tensor(storage("absent")), Raw(call(name, *arguments))]
    assert_refused(tmp_path / "a.pt", checkpoint(value), f"global {name.replace(' ', '.')}")


def test_the_canary_is_created_by_pickle(tmp_path):
    canary = tmp_path / "canary"
    for name in ("os system", "posix system", "subprocess getoutput", "builtins exec"):
        pickle.loads(b"\x80\x02" + call(name, *fill(GADGETS[name], str(canary))) + b".")
        canary.unlink()


DEEP = 9_000  # far beyond Python's recursion limit, and fewer opcodes than are too many
SYSTEM = call("posix system", "touch canary")
REDUCED = dump(("touch canary",)) + b"R"


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def memoised(opcodes: bytes) -> bytes:
    """Pushes "os" and "system" from the memo, after their order on the stack was turned."""
    return short("system") + b"\x940" + short("os") + b"\x940" + b"h\x01h\x00\x93" + opcodes


# Pickles of known opcodes, by what the message must say.
PICKLES = {
    "stack-global": (short("os") + short("system") + b"\x93" + REDUCED, "global os.system"),
    "stack-global-memoised": (memoised(REDUCED), "global os.system"),
    "stack-global-put": (dump("os") + b"q\x07" + b"0" + b"h\x07" + dump("system") + b"\x93", "os.system"),
    "stack-global-spaces": (short(" os ") + short("sys tem") + b"\x93" + REDUCED, "global  os .sys tem"),
    "stack-global-hidden": (short("os") + short("system") + b"N0\x93" + REDUCED, "opcode STACK_GLOBAL"),
    "stack-global-allowed": (short("collections") + short("OrderedDict") + b"\x93)R", "STACK_GLOBAL"),
    "stack-global-newline": (short("os\n") + short("system\x1b[2J") + b"\x93" + REDUCED, r"os\n.system\x1b[2J"),
    "global-spaces": (b"ccollections \nOrderedDict\n)R", "global collections. OrderedDict"),
    "global-escaped": (b"cpo\\x73ix\nsystem\n" + REDUCED, "global posix.system"),
    "global-not-ascii": (b"cpos\xc3\xafx\nsystem\n" + REDUCED, "malformed pickle"),
    "global-empty": (b"c\n\n" + REDUCED, "global ."),
    "global-long": (b"c" + b"a" * 10**5 + b"\nb\n" + REDUCED, "global aaaa"),
    "global-unused": (glob("posix system") + b"0" + dump({}), "global posix.system"),
    "global-many": (b"".join(glob(f"a b{n}") for n in range(500)), "global a.b7"),
    "inst": (b"(" + dump("touch canary") + b"iposix\nsystem\n", "global posix.system"),
    "inst-allowed": (b"(icollections\nOrderedDict\n", "opcode INST"),
    "obj": (b"(" + glob("posix system") + dump("touch canary") + b"o", "global posix.system"),
    "obj-allowed": (b"(" + glob("collections OrderedDict") + b"o", "opcode OBJ"),
    "newobj": (glob("subprocess Popen") + dump((["touch", "canary"],)) + b"\x81", "subprocess.Popen"),
    "newobj-allowed": (glob("collections OrderedDict") + b")\x81", "opcode NEWOBJ"),
    "newobj-ex": (glob("collections OrderedDict") + b")}\x92", "opcode NEWOBJ_EX"),
    "ext1": (b"\x82\x01" + REDUCED, "opcode EXT1"),
    "ext2": (b"\x83\x01\x00" + REDUCED, "opcode EXT2"),
    "ext4": (b"\x84\x01\x00\x00\x00" + REDUCED, "opcode EXT4"),
    "persid-text": (b"P0\n", "opcode PERSID"),
    "second-pickle": (dump({}) + b"." + SYSTEM, "bytes after the end of the pickle"),
    "build-setstate": (dump(OrderedDict()) + dump({"__setstate__": "a"}) + b"b", "BUILD"),
    "build-class": (dump(OrderedDict()) + dump({"__class__": "a", "_metadata": {}}) + b"b", "BUILD"),
    "build-dict": (b"}" + dump({"_metadata": {}}) + b"b", "BUILD"),
    "build-global": (glob("collections OrderedDict") + dump({"_metadata": {}}) + b"b", "BUILD"),
    "build-slots": (dump(OrderedDict()) + dump(({}, {"a": 1})) + b"b", "BUILD"),
    "reduce-ordered-dict": (call("collections OrderedDict", [["a", 1]]), "collections.OrderedDict called"),
    "reduce-list": (glob("collections OrderedDict") + b"]R", "collections.OrderedDict called"),
    "reduce-storage": (call("torch FloatStorage", 10**9), "torch.FloatStorage called"),
    "reduce-string": (dump("posix system") + REDUCED, "str called"),
    "reduce-result": (dump(OrderedDict()) + b")R", "OrderedDict called"),
    "reduce-tensor-global": (
        call("torch._utils _rebuild_tensor_v2", Raw(glob("torch FloatStorage")), 0, (6,), (1,), False, {}),
        "torch._utils._rebuild_tensor_v2 called",
    ),
    "reduce-tensor-of-tensor": (tensor(tensor()).opcodes, "torch._utils._rebuild_tensor_v2 called"),
    "reduce-tensor-size": (tensor(size=[2, 3]).opcodes, "torch._utils._rebuild_tensor_v2 called"),
    "reduce-tensor-hooks": (tensor(hooks=OrderedDict({1: "a"})).opcodes, "_rebuild_tensor_v2 called"),
    "reduce-tensor-hooks-dict": (tensor(hooks={}).opcodes, "_rebuild_tensor_v2 called"),
    "reduce-parameter": (
        call("torch._utils _rebuild_parameter", "a", True, OrderedDict()),
        "torch._utils._rebuild_parameter called",
    ),
    "result-global": (glob("collections OrderedDict"), "global outside a tensor"),
    "result-storage": (storage().opcodes, "storage outside a tensor"),
    "result-nested-storage": (dump({"a": [(storage(),)]}), "storage outside a tensor"),
    "storage-unknown": (storage(kind="Quantum").opcodes, "global torch.QuantumStorage"),
    "storage-not-a-storage": (
        dump(("storage", Raw(glob("collections OrderedDict")), "0", "cpu", 6)) + b"Q",
        "persistent id",
    ),
    "storage-class-name": (dump(("storage", "torch FloatStorage", "0", "cpu", 6)) + b"Q", "persistent id"),
    "storage-module": (dump(("module", "a", "b", "c")) + b"Q", "persistent id"),
    "storage-string": (dump("storage") + b"Q", "persistent id"),
    "storage-key-int": (storage(key=0).opcodes, "persistent id"),
    "storage-key-path": (storage(key="../data.pkl").opcodes, "data/../data.pkl is missing"),
    "storage-missing": (tensor(storage("9")).opcodes, "storage data/9 is missing"),
    "storage-numel-large": (tensor(storage(numel=7)).opcodes, "24 bytes, not 7 elements"),
    "storage-numel-small": (tensor(storage(numel=5)).opcodes, "24 bytes, not 5 elements"),
    "storage-numel-negative": (tensor(storage(numel=-6)).opcodes, "24 bytes, not -6 elements"),
    "storage-numel-float": (tensor(storage(numel=6.0)).opcodes, "persistent id"),
    "storage-two-dtypes": (dump([tensor(), tensor(storage(kind="Int"))]), "declared as int32 and as float32"),
    "storage-bool": (tensor(storage(numel=24, kind="Bool")).opcodes, "booleans other than 0 and 1"),
    "storage-10-gb": (tensor(storage(numel=10 * 2**28)).opcodes, "not 2684354560 elements"),
    "tensor-10-gb": (tensor(size=(2**16, 5 * 2**13)).opcodes, "beyond its storage"),
    "tensor-10-gb-expanded": (tensor(size=(10 * 2**28,), stride=(0,)).opcodes, "beyond its storage"),
    "tensor-overflow": (tensor(size=(2**33, 2**31), stride=(0, 0)).opcodes, "beyond its storage"),
    "tensor-overflow-to-6": (tensor(size=(2**63 + 6,), stride=(1,)).opcodes, "too large"),
    "tensor-stride": (tensor(stride=(4, 1)).opcodes, "beyond its storage of 6"),
    "tensor-stride-overflow": (tensor(stride=(2**62, 1)).opcodes, "beyond its storage of 6"),
    "tensor-offset": (tensor(offset=1).opcodes, "beyond its storage of 6"),
    "tensor-offset-empty": (tensor(offset=7, size=(0,), stride=(1,)).opcodes, "beyond its storage of 6"),
    "tensor-offset-huge": (tensor(offset=2**62).opcodes, "beyond its storage of 6"),
    "tensor-offset-negative": (tensor(offset=-1).opcodes, "negative"),
    "tensor-stride-negative": (tensor(offset=5, size=(6,), stride=(-1,)).opcodes, "negative"),
    "tensor-size-negative": (tensor(size=(-2, -3)).opcodes, "negative"),
    "tensor-size-bool": (tensor(size=(True, True)).opcodes, "no integer"),
    "tensor-size-float": (tensor(size=(2.0, 3.0)).opcodes, "no integer"),
    "tensor-size-string": (tensor(size=("2", "3")).opcodes, "no integer"),
    "tensor-stride-count": (tensor(stride=(1,)).opcodes, "2 sizes and 1 strides"),
    "tensor-dimensions": (tensor(size=(1,) * 99, stride=(1,) * 99).opcodes, "99 sizes"),
    "tensor-empty-overflow": (tensor(size=(0, 2**62, 2**62), stride=(1, 1, 1)).opcodes, "malformed"),
    "deep-tuples": (b")" + b"\x85" * DEEP, "nested deeper"),
    "deep-lists": (b"]" * DEEP + b"a" * (DEEP - 1), "nested deeper"),
    "deep-marks": (b"(" * DEEP + b"t" * DEEP, "nested deeper"),
    "cycle-list": (b"]q\x00h\x00a", "holding themselves"),
    "cycle-dict": (b"}q\x00" + dump("a") + b"h\x00s", "holding themselves"),
    "key-tuple": (b"}(" + b")" + b"\x85" * DEEP + b"Nu", "dictionary key of type tuple"),
    "key-tensor": (b"}(" + tensor().opcodes + b"Nu", "dictionary key of type ndarray"),
    "key-without-value": (b"}(" + dump("a") + b"u", "SETITEM"),
    "append-to-dict": (b"}" + dump("a") + b"a", "APPEND to dict"),
    "append-to-tensor": (tensor().opcodes + b"Na", "APPEND to ndarray"),
    "setitem-of-tensor": (tensor().opcodes + b"(" + dump(0) * 2 + b"u", "SETITEM of 2 objects in ndarray"),
    "stack-empty": (b"R", "malformed or damaged"),
    "stack-below-mark": (b"}(" + b"\x85", "malformed or damaged"),
    "stack-two-objects": (b"NN", "other than one object"),
    "stack-nothing": (b"", "other than one object"),
    "mark-left": (b"(N", "other than one object"),
    "mark-missing": (b"Nt", "malformed or damaged"),
    "memo-missing": (b"h\x05", "malformed or damaged"),
    "memo-text": (b"Np0\ng0\n", "opcode PUT"),
    "dup": (b"N2\x86", "opcode DUP"),
    "long4": (b"\x8b" + struct.pack("<I", 10**5) + b"\x7f" * 10**5, "opcode LONG4"),
    "long4-beyond": (b"\x8b\xff\xff\xff\x7f", "malformed pickle"),
    "long-text": (b"L" + b"9" * 10**5 + b"L\n", "malformed pickle"),
    "string-beyond": (b"X\xff\xff\xff\xffa", "malformed pickle"),
    "string-not-utf8": (b"X\x01\x00\x00\x00\xff", "malformed pickle"),
    "float-text": (b"F1.0\n", "opcode FLOAT"),
    "bytes": (b"C\x01a", "opcode SHORT_BINBYTES"),
    "bytearray8": (b"\x96" + struct.pack("<Q", 1) + b"a", "opcode BYTEARRAY8"),
    "bytearray8-huge": (b"\x96" + struct.pack("<Q", 2**62), "malformed pickle"),
    "out-of-band": (b"\x97", "opcode NEXT_BUFFER"),
    "frame": (b"\x80\x05\x95" + struct.pack("<Q", 1) + b"N", "pickle protocol 5"),
    "set": (b"\x8f", "opcode EMPTY_SET"),
    "unknown-opcode": (b"\xff", "malformed pickle"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_refuses_pickles(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opcodes, named = PICKLES[name]
    assert_refused(tmp_path / "a.pt", checkpoint(Raw(opcodes)), named)


GOOD = entries({"weight": tensor()})
GOOD_ZIP = zipped(GOOD)
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."


def replaced(name: str, data: bytes) -> list[tuple[str, bytes]]:
    return [(key, data if key == name else old) for key, old in GOOD]


def patched(signature: bytes, offset: int, value: bytes) -> bytes:
    """Sets a field in every zip header of a kind: PK 1 2 in the central directory, PK 3 4 before entries."""
    data = bytearray(GOOD_ZIP)
    position = data.find(signature)
    while position >= 0:
        data[position + offset : position + offset + len(value)] = value
        position = data.find(signature, position + 4)
    return bytes(data)


def one_bit(needle: bytes) -> bytes:
    data = bytearray(GOOD_ZIP)
    data[data.index(needle)] ^= 4
    return bytes(data)


def overlapping() -> bytes:
    """Fifty entries of the directory that share the bytes of one storage."""
    bomb = zipped([*GOOD, *((f"model/data/{n:03}", b"") for n in range(50)), ("model/data/zz", b"\0" * 5000)])
    data = bytearray(bomb)
    last = data.rindex(b"PK\1\2")
    fields = data[last + 16 : last + 28], data[last + 42 : last + 46]
    for n in range(50):
        start = data.rindex(f"model/data/{n:03}".encode()) - 46
        data[start + 16 : start + 28], data[start + 42 : start + 46] = fields
    return bytes(data)


CENTRAL, LOCAL = b"PK\1\2", b"PK\3\4"
FILES = {
    "empty": (b"", "the file is empty"),
    "one-byte": (b"P", "not a zip"),
    "random": (random.Random(0).randbytes(1000), "not a zip"),
    "html": (b"\n<!DOCTYPE html><html>Sign in</html>", "HTML"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "safetensors": (struct.pack("<Q", 2) + b"{}", "safetensors file"),
    "7z-renamed": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(100), "7z archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip"),
    "tar": (b"data".ljust(257, b"\0") + b"ustar\x0000" + bytes(500), "tar archive"),
    "legacy-torch": (LEGACY + SYSTEM + b".", "legacy (non-zip) torch file"),
    "bare-pickle": (b"\x80\x02" + SYSTEM + b".", "bare pickle"),
    "bare-pickle-protocol-0": (SYSTEM + b".", "not a zip"),
    "zip-empty": (zipped([]), "not a zip"),
    "zip-in-junk": (b"junk" + GOOD_ZIP, "not a zip"),
    "zip-and-junk": (GOOD_ZIP + SYSTEM, "end record"),
    "zip-and-legacy": (LEGACY + GOOD_ZIP, "legacy (non-zip) torch file"),
    "zip-twice": (GOOD_ZIP + GOOD_ZIP, "bytes before the first"),
    "zip-bomb": (zipped([*GOOD, ("model/data/1", bytes(10**7))], zipfile.ZIP_DEFLATED), "is compressed"),
    "zip-bzip2": (zipped(GOOD, zipfile.ZIP_BZIP2), "is compressed"),
    "zip-overlap": (overlapping(), "declare more bytes"),
    "cut-in-storage": (GOOD_ZIP[: GOOD_ZIP.index(b"model/data/0")], "end record"),
    "cut-in-half": (GOOD_ZIP[: len(GOOD_ZIP) // 2], "end record"),
    "cut-in-directory": (GOOD_ZIP[: GOOD_ZIP.rindex(CENTRAL)], "end record"),
    "cut-last-byte": (GOOD_ZIP[:-1], "end record"),
    "cut-at-start": (GOOD_ZIP[:4], "end record"),
    "hole": (GOOD_ZIP[:100] + GOOD_ZIP[130:], "a.pt"),
    "crc-storage": (one_bit(SIX.tobytes()), "checksum (CRC-32) of model/data/0"),
    "crc-pickle": (one_bit(b"torch._utils"), "checksum (CRC-32) of model/data.pkl"),
    "crc-declared": (patched(CENTRAL, 16, b"\1\2\3\4"), "checksum (CRC-32)"),
    "flag-encrypted": (patched(CENTRAL, 8, b"\1\0"), "encrypted"),
    "flag-encrypted-local": (patched(LOCAL, 6, b"\1\0"), "two zip headers"),
    "flag-strong-encryption": (patched(CENTRAL, 8, b"\x40\0"), "encrypted"),
    "flag-patched-data": (patched(CENTRAL, 8, b"\x20\0"), "other flags"),
    "method-local": (patched(LOCAL, 8, b"\x08\0"), "two zip headers"),
    "method-unknown": (patched(CENTRAL, 10, b"\x63\0"), "is compressed"),
    "size-declared": (patched(CENTRAL, 20, struct.pack("<II", 2**31, 2**31)), "declare more bytes"),
    "size-differs": (patched(CENTRAL, 24, struct.pack("<I", 99)), "is compressed"),
    "offset-beyond": (patched(CENTRAL, 42, struct.pack("<I", 2**31)), "a.pt"),
    "name-local": (GOOD_ZIP.replace(b"model/data/0", b"model/data/1", 1), "two zip headers of model/data/0"),
    "duplicate-storage": (zipped([*GOOD, GOOD[2]]), "same name"),
    "duplicate-pickle": (zipped([GOOD[0], *GOOD]), "same name"),
    "path-parent": (zipped([*GOOD, ("model/../../canary", b"a")]), "model/../../canary has an unsafe path"),
    "path-absolute": (zipped([*GOOD, ("/tmp/canary", b"a")]), "/tmp/canary has an unsafe path"),
    "path-backslash": (zipped([*GOOD, ("model\\..\\canary", b"a")]), "unsafe path"),
    "path-null": (GOOD_ZIP.replace(b"model/version", b"model/a\0rsion"), "unsafe path"),
    "path-folder": (zipped([*GOOD, ("model/data/", b"")]), "unsafe path"),
    "path-no-root": (zipped([("data.pkl", GOOD[0][1])]), "unsafe path"),
    "two-pickles": (zipped([*GOOD, ("model/extra/data.pkl", SYSTEM)]), "2 data.pkl"),
    "two-roots": (zipped([*GOOD, ("other/data.pkl", SYSTEM)]), "2 data.pkl and 2 root folders"),
    "two-roots-one-pickle": (zipped([*GOOD, ("other/version", b"3")]), "2 root folders"),
    "pickle-missing": (zipped(GOOD[1:]), "0 data.pkl"),
    "pickle-misplaced": (zipped([("model/data/data.pkl", GOOD[0][1])]), "not one of each"),
    "pickle-empty": (zipped(replaced("model/data.pkl", b"")), "malformed pickle"),
    "pickle-cut": (zipped(replaced("model/data.pkl", GOOD[0][1][:-9])), "malformed pickle"),
    "pickle-huge": (zipped(replaced("model/data.pkl", bytes(2**26 + 1))), "more than 67108864"),
    "big-endian": (zipped(replaced("model/byteorder", b"big")), "byte order"),
    "byte-order-empty": (zipped(replaced("model/byteorder", b"")), "byte order"),
    "zip-of-zip": (zipped([("model/model.pt", GOOD_ZIP)]), "0 data.pkl"),
}


@pytest.mark.parametrize("name", FILES)
def test_refuses_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, named = FILES[name]
    assert_refused(tmp_path / "a.pt", data, named)


def test_refuses_too_many_opcodes(tmp_path, monkeypatch):
    monkeypatch.setattr("urgentmos_jax.weights.torch_zip._MAX_OPCODES", 1000)
    assert read(tmp_path / "a.pt", checkpoint([None] * 900)) == [None] * 900
    assert_refused(tmp_path / "a.pt", checkpoint([None] * 1000), "more than 1000 opcodes")


BOMBS = {
    "lists": lambda count: b"(" + b"]" * count + b"t",
    "dictionaries": lambda count: b"(" + b"}" * count + b"t",
    "tuples": lambda count: b"(" + b"N\x85" * (count // 2) + b"t",
    "marks": lambda count: b"(" * count,
    "memo": lambda count: b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(count)),
    "numbers": lambda count: b"(" + b"M\xff\xff" * count + b"t",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_opcodes_do_not_take_large_memory(name, tmp_path):
    """A list takes one byte of a file, and took 150 of memory."""
    path = tmp_path / "a.pt"
    assert_refused(path, checkpoint(Raw(BOMBS[name](100_000))), "more than 20000 opcodes, too many for its size")
    # As many as are taken.
    path.write_bytes(
        checkpoint({"bomb": Raw(BOMBS[name](25_000)), "weight": tensor()}, SIX, np.zeros(260_000, np.float32))
    )
    tracemalloc.start()
    try:
        read_torch_file(path)
    except UnsafeCheckpoint as error:
        assert "ends with other than one object" in str(error) or "malformed" in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * path.stat().st_size + 2**22


def test_names_all_globals_and_what_to_do(tmp_path):
    value = [Raw(call("os system", "a")), Raw(call("builtins eval", "b"))]
    assert_refused(tmp_path / "a.pt", checkpoint(value), "os.system", "builtins.eval", "ask its author")


def test_detects_every_flipped_bit_of_the_data(tmp_path):
    spans = [(GOOD_ZIP.index(data), 8 * len(data)) for data in (GOOD[0][1], GOOD[2][1])]
    for start, bits in spans:
        for bit in random.Random(1).sample(range(bits), 100):
            data = bytearray(GOOD_ZIP)
            data[start + bit // 8] ^= 1 << bit % 8
            with pytest.raises(UnsafeCheckpoint, match="CRC-32"):
                read(tmp_path / "a.pt", bytes(data))


@pytest.mark.parametrize("part", ["file", "pickle"])
def test_survives_mutations(part, tmp_path):
    rng = random.Random(part)
    refused = 0
    value = {"a": [tensor(), OrderedDict(b=1.5)], "c": Raw(b"}q\x00h\x00\x86")}
    seed = checkpoint(value) if part == "file" else b"\x80\x02" + dump(value) + b"."
    for _ in range(500):
        data = bytearray(seed)
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        start = rng.randrange(len(data))
        if rng.random() < 0.3:
            del data[start : start + rng.randrange(20)]
        content = bytes(data) if part == "file" else zipped([("m/data.pkl", bytes(data)), ("m/data/0", SIX)])
        try:
            for _, leaf in itertools.islice(leaves(read(tmp_path / "a.pt", content)), 100):
                assert isinstance(leaf, np.ndarray | str | int | float | None)
        except UnsafeCheckpoint as error:
            refused += 1
            assert str(tmp_path) in str(error)
    assert refused > 250


def malicious_files(canary: str) -> dict[str, bytes]:
    """All that is refused above, as files."""
    gadgets = {
        f"global-{name}": checkpoint([tensor(storage("absent")), Raw(call(name, *fill(arguments, canary)))])
        for name, arguments in GADGETS.items()
    }
    pickles = {f"pickle-{name}": checkpoint(Raw(opcodes)) for name, (opcodes, _) in PICKLES.items()}
    return gadgets | pickles | {f"file-{name}": data for name, (data, _) in FILES.items()}


@pytest.mark.slow
@pytest.mark.figures
def test_nothing_is_called_written_or_imported_with_little_memory(tmp_path):
    """In a process of its own: Python tells an audit hook of whatever a file would have it do."""
    pytest.importorskip("resource")
    (tmp_path / "files").mkdir()
    files = malicious_files(str(tmp_path / "canary"))
    for number, data in enumerate(files.values()):
        (tmp_path / "files" / str(number)).write_bytes(data)
    (tmp_path / "good").write_bytes(GOOD_ZIP)
    code = """if True:
        import json, pathlib, resource, sys
        from urgentmos_jax.weights.torch_zip import UnsafeCheckpoint, read_torch_file
        read_torch_file("good")
        try:
            read_torch_file("files/0")
        except UnsafeCheckpoint:
            pass
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2**24
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        done, events, messages = set(sys.modules), [], []
        def audit(event, arguments):
            harmless = event == "open" and arguments[1] == "r" and str(arguments[0]).startswith("files/")
            if not harmless and event not in ("builtins.id", "object.__getattr__", "sys._getframe"):
                events.append(f"{event} {arguments!r}")
        for number in range(int(sys.argv[1])):
            if not number:
                sys.addaudithook(audit)
            try:
                read_torch_file(f"files/{number}")
                messages.append("read")
            except UnsafeCheckpoint as error:
                messages.append(str(error))
        print(json.dumps([messages, events, sorted(set(sys.modules) - done)]))"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, str(len(files))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    messages, events, modules = json.loads(done.stdout)
    refused = [message for message in messages if message != "read" and "MemoryError" not in message]
    print(f"{len(refused)} of {len(files)} malicious or odd torch files refused")
    assert len(refused) == len(files) == len(set(files.values())) >= 60
    assert not events and not modules
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "good"]
