"""Models and encoders by their hub id, from a hub of our own on the loopback interface."""

import argparse
import base64
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.helpers.corpus import GOLDEN
from tests.helpers.torch_writer import state_dict_file
from urgentmos_jax.cli import main
from urgentmos_jax.cli.models import load
from urgentmos_jax.cli.usage import UsageError
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.weights.cache import find_model
from urgentmos_jax.weights.hub import HubFileChanged, ModelNotFound, PushFailed, find_folder
from urgentmos_jax.weights.model_folder import is_model_folder
from urgentmos_jax.weights.torch_zip import read_torch_file
from urgentmos_jax.weights.user_cache import temporary_folder

AUTHORS_ID = "urgent-challenge/urgent-mos-f1c1m5dcorpus"
CASE = GOLDEN / "model" / "c1m5-mean-base"
ENCODER_FILES = ("config.json", "preprocessor_config.json")

# What the tests run, in a process of its own since the hub's client reads its settings when imported. Last line: JSON.
SCORE = """
import json, sys
import numpy as np
import urgentmos_jax
model = urgentmos_jax.load_model(sys.argv[1], revision=sys.argv[3] if sys.argv[3:] else None)
rows = model.score([np.load(sys.argv[2])], sample_rate=16000)
assert not {"torch", "transformers", "grain", "orbax", "ml_collections"} & sys.modules.keys()
print(json.dumps(rows[0]["scores"]))
"""
ENCODER = """
import json, sys
import numpy as np
from urgentmos_jax.weights.encoder_folder import load_encoder
from urgentmos_jax.weights.rules import flat_state
sums = {path: float(np.abs(value[...]).sum()) for path, value in flat_state(load_encoder(sys.argv[1])).items()}
print(json.dumps(sums))
"""


TOKEN = "hf_of_this_test"
MAX_UPLOAD = 32 << 20


class Hub:
    """A hub that holds {id: {file: content}} and notes what it was asked for; who has the token may push.

    v1 is a tag of what is on main; branches are {(id, branch): {file: content}}.
    """

    def __init__(self):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], dict[str, bytes]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.downloads: list[str] = []
        self.broken: set[str] = set()
        self.uploaded: dict[str, bytes] = {}
        self.pushes: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self, with_body=True)

            def do_HEAD(self):
                hub.answer(self, with_body=False)

            def do_POST(self):
                hub.accept(self)

            def do_PUT(self):
                hub.accept(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(timeout=10)

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        status, content, headers = self.find(request.path.partition("?")[0])
        cut = with_body and request.path.rpartition("/")[2] in self.broken
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if with_body:
            request.wfile.write(content[: len(content) // 2] if cut else content)

    def accept(self, request: BaseHTTPRequestHandler) -> None:
        size = int(request.headers.get("Content-Length", MAX_UPLOAD + 1))
        if size > MAX_UPLOAD:
            status, found = 413, {"error": "too large"}
        else:
            body = request.rfile.read(size)
            # Large files go to a place of their own, whose address is the permission.
            allowed = request.command == "PUT" or request.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, found = self.push(request.path.partition("?")[0], body) if allowed else (401, {"error": "no token"})
        content = json.dumps(found).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def push(self, path: str, body: bytes) -> tuple[int, dict[str, object]]:
        """What the hub's API answers to a repository, a branch, a question, a large file or a commit that comes."""
        parts = path.strip("/").split("/")
        if parts[0] == "lfs":
            self.uploaded[parts[1]] = body
            return (200, {}) if hashlib.sha256(body).hexdigest() == parts[1] else (400, {"error": "another file"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.repositories:
                return 409, {"error": "it is there", "url": f"{self.endpoint}/{name}"}
            self.repositories[name] = {}
            return 200, {"url": f"{self.endpoint}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.endpoint}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        name, kind = "/".join(parts[2:4]), parts[4]
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}
        if kind == "preupload":
            modes = {True: "lfs", False: "regular"}
            return 200, {
                "files": [
                    {
                        "path": one["path"],
                        "uploadMode": modes[one["path"].endswith(".safetensors")],
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for one in json.loads(body)["files"]
                ]
            }
        if kind == "branch":
            if (name, parts[5]) in self.branches:
                return 409, {"error": "it is there"}
            self.branches[name, parts[5]] = dict(self.repositories[name])
            return 200, {}
        assert kind == "commit", path
        files = self.files(name, parts[5])
        if files is None:
            return 404, {"error": "no such branch"}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.uploaded.pop(value["oid"])
        self.pushes.append((name, parts[5]))
        return 200, {"success": True, "commitUrl": f"{self.endpoint}/{name}/commit/1", "commitOid": "1" * 40}

    def files(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Of a branch, the tag, or a commit that was seen."""
        if revision in ("main", "v1"):
            return self.repositories[name]
        return self.branches.get((name, revision), self.commits.get(revision))

    def commit(self, name: str, revision: str = "main") -> str:
        files = self.files(name, revision)
        commit = hashlib.sha1(b"".join(files[key] for key in sorted(files))).hexdigest()
        self.commits[commit] = dict(files)
        return commit

    def find(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 6:
            name, kind = "/".join(parts[2:4]), parts[4]
        elif len(parts) == 5 and parts[2] == "resolve":
            name, kind = "/".join(parts[:2]), "resolve"
        else:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        if name not in self.repositories:
            return 401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        revision = parts[5 if kind != "resolve" else 3]
        self.commit(name)
        if (files := self.files(name, revision)) is None:
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        commit = self.commit(name, revision)
        if kind == "resolve":
            if parts[4] not in files:
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
            content = files[parts[4]]
            self.downloads.append(f"{name}/{parts[4]}")
            return 200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
        entries = [
            {"type": "file", "path": key, "size": len(x), "oid": hashlib.sha1(x).hexdigest()}
            for key, x in files.items()
        ]
        siblings = [{"rfilename": key} for key in files]
        info = {"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        return 200, json.dumps(info if kind == "revision" else entries).encode(), {"Content-Type": "application/json"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.stop()


class Client:
    """Runs code with the hub's address and empty caches of its own."""

    def __init__(self, folder: Path, endpoint: str):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
        self.environment = kept | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "JAX_NUM_CPU_DEVICES": "1",
        }

    def process(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)

    def run(self, code: str, *arguments: object) -> dict[str, float]:
        found = self.process("-c", code, *arguments)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout.splitlines()[-1])

    def refused(self, *arguments: object) -> str:
        """The one line that the command `urgentmos` ends with."""
        found = self.process("-m", "urgentmos_jax.cli", *arguments)
        assert found.returncode == 2 and found.stdout == "" and "Traceback" not in found.stderr, found.stderr
        return found.stderr.splitlines()[-1]


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(tmp_path, hub.endpoint)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    np.save(tmp_path / "clip.npy", np.load(CASE / "expected.npz")["wav0"])
    return tmp_path / "clip.npy"


def golden_scores() -> dict[str, object]:
    expected = np.load(CASE / "expected.npz")
    names = json.loads((CASE / "meta.json").read_text())["metrics"]
    return {name: pytest.approx(float(expected[f"abs/0/{name}"]), abs=1e-4) for name in names}


@pytest.mark.slow
def test_the_authors_checkpoint_by_its_id(hub: Hub, client: Client, clip: Path):
    content = read_torch_file(CASE / "model.pt")
    content["config"]["model"]["feature_extractor"]["feature_extractors"][0]["model_name"] = "tiny/wavlm"
    hub.repositories[AUTHORS_ID] = {"model.pt": state_dict_file(content), "README.md": b"never downloaded"}
    encoder = {name: (CASE / "encoder" / name).read_bytes() for name in ENCODER_FILES}
    hub.repositories["tiny/wavlm"] = {**encoder, "pytorch_model.bin": b"never downloaded", "vocab.json": b"{}"}
    assert client.run(SCORE, AUTHORS_ID, clip) == golden_scores()
    assert set(hub.downloads) == {f"{AUTHORS_ID}/model.pt", *(f"tiny/wavlm/{name}" for name in ENCODER_FILES)}
    hub.stop()
    assert client.run(SCORE, AUTHORS_ID, clip) == golden_scores(), "from the cache, without network"


@pytest.mark.slow
def test_a_model_folder_by_its_id(hub: Hub, client: Client, clip: Path, model_folder: Path):
    files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    hub.repositories["me/model"] = {**files, "README.md": b"never downloaded", "optimizer.bin": b"neither"}
    assert client.run(SCORE, "me/model", clip, "v1") == golden_scores()
    assert set(hub.downloads) == {"me/model/config.json", "me/model/model.safetensors"}
    found = client.process("-c", SCORE, "me/model", clip, "v2")
    assert found.returncode != 0 and "ModelNotFound: me/model" in found.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_encoder_with_torch_weights_alone(hub: Hub, client: Client):
    folder = GOLDEN / "encoders" / "wavlm-base"
    files = {name: (folder / name).read_bytes() for name in ENCODER_FILES}
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    hub.repositories["tiny/torch"] = {**files, "pytorch_model.bin": state_dict_file(weights), "flax_model.msgpack": b""}
    wanted = client.run(ENCODER, folder)
    assert wanted and client.run(ENCODER, "tiny/torch") == wanted
    assert set(hub.downloads) == {f"tiny/torch/{name}" for name in (*ENCODER_FILES, "pytorch_model.bin")}


@pytest.mark.slow
def test_an_encoder_within_a_larger_model(hub: Hub, client: Client):
    """Only the shards with the encoder are downloaded; the front end comes from where the published code takes it."""
    folder = GOLDEN / "encoders" / "qwen2-audio"
    config = json.dumps({"model_type": "qwen2_audio", "audio_config": json.loads((folder / "config.json").read_text())})
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    half = dict(list(weights.items())[:5])
    shards = {"model-1.safetensors": half, "model-2.safetensors": {k: v for k, v in weights.items() if k not in half}}
    places = {f"audio_tower.{key}": name for name, part in shards.items() for key in part}
    index = {"weight_map": places | {"language_model.model.x": "model-3.safetensors"}}
    hub.repositories["Atotti/AFWhisper"] = {
        "config.json": config.encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-3.safetensors": b"never downloaded",
        **{
            name: safetensors.numpy.save({f"audio_tower.{key}": value for key, value in part.items()})
            for name, part in shards.items()
        },
    }
    preprocessor = (folder / "preprocessor_config.json").read_bytes()
    hub.repositories["Qwen/Qwen2-Audio-7B"] = {"preprocessor_config.json": preprocessor, "config.json": b"never"}
    assert client.run(ENCODER, "Atotti/AFWhisper") == client.run(ENCODER, folder)
    names = ("config.json", "model.safetensors.index.json", *shards)
    assert set(hub.downloads) == {
        "Qwen/Qwen2-Audio-7B/preprocessor_config.json",
        *(f"Atotti/AFWhisper/{name}" for name in names),
    }


@pytest.fixture
def in_process(hub: Hub, tmp_path: Path, monkeypatch) -> Path:
    """The hub's client of this process asks that hub, with caches of its own; the folder of records."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = functools.partial(huggingface_hub.snapshot_download, endpoint=hub.endpoint)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", functools.partial(real, cache_dir=tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub, "HfApi", functools.partial(huggingface_hub.HfApi, endpoint=hub.endpoint))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    return tmp_path / "cache" / "urgentmos" / "hub"


def test_a_file_is_the_one_that_was_downloaded_first(hub: Hub, in_process: Path):
    """The hub may change under a name; a revision stays what it is."""
    encoder = hub.repositories["me/encoder"] = {"config.json": b"one", "preprocessor_config.json": b"{}"}
    first = find_folder("me/encoder", files=ENCODER_FILES)
    record = in_process / "me--encoder.json"
    digest = hashlib.sha256(b"one").hexdigest()
    assert json.loads(record.read_text())["main"]["config.json"] == {"commit": first.name, "sha256": digest}
    encoder["README.md"] = b"another commit, but the same files"
    assert find_folder("me/encoder", files=ENCODER_FILES) != first

    encoder["config.json"] = b"two"
    with pytest.raises(HubFileChanged, match=r"me/encoder: the hub's config\.json is not the one") as error:
        find_folder("me/encoder", files=ENCODER_FILES)
    now = str(error.value).partition("that, me/encoder@")[2][:40]
    assert f"Give me/encoder@{first.name} for that" in str(error.value) and str(record) in str(error.value)
    # Files that were not downloaded before are no change, and neither are those of a revision that is asked for.
    assert find_folder("me/encoder", files=("preprocessor_config.json",)).name == now
    for source, revision in ((f"me/encoder@{now}", None), ("me/encoder", now)):
        assert (find_folder(source, files=ENCODER_FILES, revision=revision) / "config.json").read_bytes() == b"two"
    assert find_folder(f"me/encoder@{first.name}", files=ENCODER_FILES) == first
    with pytest.raises(HubFileChanged):
        find_folder("me/encoder", files=ENCODER_FILES)
    record.unlink()
    assert find_folder("me/encoder", files=ENCODER_FILES).name == now

    # A file that is damaged in the cache.
    (find_folder("me/encoder", files=ENCODER_FILES) / "config.json").write_bytes(b"twp")
    with pytest.raises(HubFileChanged, match=r"config\.json: not what was downloaded from me/encoder .*; remove .*"):
        find_folder("me/encoder", files=ENCODER_FILES)


def test_the_revision_of_a_model(hub: Hub, in_process: Path, model_folder: Path, capsys):
    hub.repositories["me/model"] = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    assert main(["info", "me/model", "--revision", "v1"]) == 0 and "utmos" in capsys.readouterr().out
    hub.repositories["me/model"]["config.json"] += b"\n"
    assert main(["info", "me/model", "--revision", "v1"]) == 2
    assert "the hub's config.json is not the one that was downloaded first" in capsys.readouterr().err
    assert main(["info", "me/model", "--revision", "v2"]) == 2 and "me/model" in capsys.readouterr().err
    assert main(["info", str(model_folder), "--revision", "v1"]) == 2
    assert "a folder on this machine has no revision v1" in capsys.readouterr().err
    several = argparse.Namespace(model=["me/model", "me/other"], revision="v1", batch_seconds=None)
    with pytest.raises(UsageError, match="--revision goes with one --model"):
        load(several, "me/model")


def test_a_model_that_is_pushed_comes_back(hub: Hub, in_process: Path, model_folder: Path, tmp_path: Path, capsys):
    """With a card made from config.json, or one that lies in its folder, in one commit each."""
    model = Model.from_pretrained(model_folder, compile_cache=False)
    address = model.push_to_hub("me/model", token=TOKEN)
    assert address == f"{hub.endpoint}/me/model/commit/1" and hub.pushes == [("me/model", "main")]
    pushed = hub.repositories["me/model"]
    assert pushed.keys() == {"config.json", "model.safetensors", "README.md"}
    for name in ("config.json", "model.safetensors"):
        assert pushed[name] == (model_folder / name).read_bytes()
    card = pushed["README.md"].decode()
    assert "library_name: urgentmos_jax" in card and 'load_model("me/model")' in card

    back = Model.from_pretrained("me/model", compile_cache=False)
    assert back.name == "me/model" and back.folder.name == hub.commit("me/model") and back.config == model.config
    assert jax.tree.all(jax.tree.map(np.array_equal, back.params, model.params))

    assert main(["fetch", "me/model"]) == 0
    said = capsys.readouterr().out
    weights = hashlib.sha256(pushed["model.safetensors"]).hexdigest()
    assert str(back.folder) in said and weights in said and "authors' checkpoint" in said and "mos_overall" in said
    hub.stop()
    assert main(["fetch", "me/model"]) == 0 and capsys.readouterr().out == said, "without network"


@pytest.mark.slow
def test_a_branch_brings_the_model_that_was_pushed_there(hub: Hub, in_process: Path, model_folder: Path, clip: Path):
    """Its scores are those of the model that was pushed; main keeps its own; a branch that is not there is named."""
    model = Model.from_pretrained(model_folder, compile_cache=False)
    model.push_to_hub("me/model", token=TOKEN)
    other = model.with_params(jax.tree.map(lambda x: 1.01 * x, model.params))
    for _ in range(2):
        other.push_to_hub("me/model", revision="better", token=TOKEN)
    assert hub.pushes == [("me/model", "main"), ("me/model", "better"), ("me/model", "better")]

    back = Model.from_pretrained("me/model", revision="better", compile_cache=False)
    assert back.folder.name == hub.commit("me/model", "better") != hub.commit("me/model")
    clips = [np.load(clip)]
    scores, pushed, main_scores = (one.score(clips, sample_rate=16000)[0]["scores"] for one in (back, other, model))
    assert scores == pushed != main_scores
    on_main = Model.from_pretrained("me/model", compile_cache=False)
    assert jax.tree.all(jax.tree.map(np.array_equal, on_main.params, model.params))
    with pytest.raises(ModelNotFound, match="me/model: the hub repository has no revision worse; give a branch"):
        Model.from_pretrained("me/model", revision="worse", compile_cache=False)


def test_another_model_is_pushed_as_it_is_now(hub: Hub, in_process: Path, model_folder: Path, tmp_path: Path):
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "README.md").write_text("# A card of one's own\n")
    model = Model.from_pretrained(copy, compile_cache=False)
    other = model.with_params(jax.tree.map(lambda x: 1.5 * x, model.params))
    other.push_to_hub("me/other", token=TOKEN)
    pushed = hub.repositories["me/other"]
    assert pushed["README.md"].startswith(b"---\n"), "what is in the folder is of another model"
    found = safetensors.numpy.load(pushed["model.safetensors"])
    for path, value in safetensors.numpy.load_file(copy / "model.safetensors").items():
        np.testing.assert_array_equal(found[path], np.float32(1.5) * value)
    model.push_to_hub("me/other", token=TOKEN)
    assert pushed["README.md"] == b"# A card of one's own\n"
    assert pushed["model.safetensors"] == (copy / "model.safetensors").read_bytes()
    other.push_to_hub("me/other", token=TOKEN, card="new")
    assert pushed["README.md"] == b"new"


def test_pushes_that_are_refused(hub: Hub, in_process: Path, model_folder: Path):
    model = Model.from_pretrained(model_folder, compile_cache=False)
    with pytest.raises(PushFailed, match=r"me/model: could not be pushed \(.*\); log in by `hf auth login`"):
        model.push_to_hub("me/model", token="hf_wrong")
    with pytest.raises(ValueError, match="model: not the id of a hub repository"):
        model.push_to_hub("model", token=TOKEN)
    assert not hub.repositories and not hub.pushes


def test_no_cache_can_be_written(hub: Hub, in_process: Path, tmp_path: Path, monkeypatch, caplog):
    """A model of the authors is downloaded and converted in a temporary folder; one warning."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(blocked / "hub"))
    real = huggingface_hub.snapshot_download.func
    patched = functools.partial(real, endpoint=hub.endpoint, cache_dir=blocked / "hub")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", patched)
    content = read_torch_file(CASE / "model.pt")
    content["config"]["model"]["feature_extractor"]["feature_extractors"][0]["model_name"] = "tiny/wavlm"
    hub.repositories[AUTHORS_ID] = {"model.pt": state_dict_file(content)}
    hub.repositories["tiny/wavlm"] = {name: (CASE / "encoder" / name).read_bytes() for name in ENCODER_FILES}
    for _ in range(2):
        folder = find_model(AUTHORS_ID)
        assert is_model_folder(folder) and temporary_folder() in folder.parents
    assert caplog.text.count("the cache folder cannot be written") == 1


def test_an_id_that_is_not_there(hub: Hub, client: Client):
    hub.repositories["me/other"] = {}
    error = client.refused("info", "me/typo")
    assert "me/typo" in error and "give its path" in error


@pytest.mark.slow
def test_a_download_that_breaks_off(hub: Hub, client: Client, model_folder: Path):
    hub.repositories["me/model"] = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    hub.broken = {"model.safetensors"}
    error = client.refused("info", "me/model")
    assert "me/model" in error and "give its path" in error


def test_a_repository_without_a_model(hub: Hub, client: Client):
    hub.repositories["me/other"] = {"README.md": b"nothing here"}
    error = client.refused("info", "me/other")
    assert "me/other" in error and "model.safetensors" in error
