"""Both hubs' real clients against a stand-in on loopback that has one model, and against no hub at all."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.components.hub.hub_server import blob
from tests.components.hub.processes import run

COMMIT, OLDER = "a1" * 20, "b2" * 20
MODEL = "owner/little"
FILES = {"config.json": b'{"architectures": ["X"]}', "model.safetensors": b"weights", "pytorch_model.bin": b"pickle"}
TAKE = """
import json, sys
from pathlib import Path
from components.models import folder, resolve
from components.errors import MartletError
try:
    identity = resolve(sys.argv[2], sys.argv[3] or None, sys.argv[1] == "huggingface", Path.cwd())
    print(json.dumps([identity, sorted(p.name for p in folder(identity, Path.cwd()).iterdir() if p.name[0] != ".")]))
except MartletError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
NOBODY = "http://127.0.0.1:9"
NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
HUBS = list(NAMES)


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if path == "/":
            return self.answer(b"here")
        if path in (f"/api/models/{MODEL}", f"/api/models/{MODEL}/revision/{COMMIT}"):
            return self.answer({"id": MODEL, "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]})
        if path == f"/api/models/{MODEL}/tree/{COMMIT}":
            return self.answer([{"type": "file", "path": n, "size": len(b), "oid": blob(b)} for n, b in FILES.items()])
        if path.startswith(f"/{MODEL}/resolve/{COMMIT}/"):
            body = FILES[path.rpartition("/")[2]]
            return self.answer(body, {"ETag": f'"{blob(body)}"', "X-Repo-Commit": COMMIT})
        if path == f"/api/v1/models/{MODEL}/repo/files":
            known = query["Revision"][0] in ("master", COMMIT)
            return self.answer({"Code": 200, "Data": {"Files": [listed(n) for n in FILES] if known else None}})
        if path == f"/api/v1/models/{MODEL}/repo" and query["Revision"] == [COMMIT]:
            return self.answer(FILES[query["FilePath"][0]])
        return self.answer({"error": "not found"}, {"X-Error-Code": "RepoNotFound"}, 404)

    def answer(self, body, headers: dict[str, str] | None = None, status: int = 200):
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def listed(name: str) -> dict[str, object]:
    newest = name == "model.safetensors"
    entry = {"Path": name, "Type": "blob", "Size": len(FILES[name]), "Sha256": hashlib.sha256(FILES[name]).hexdigest()}
    return entry | {"Revision": COMMIT if newest else OLDER, "CommittedDate": 2 if newest else 1}


@pytest.fixture(scope="module")
def hub() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def take(source: str, model: str, revision: str, endpoint: str, home: Path) -> CompletedProcess[str]:
    """In a process of its own."""
    return run(TAKE, source, model, revision, environment=variables(endpoint, home), folder=home)


def variables(endpoint: str, home: Path) -> dict[str, str]:
    """The environment of a process whose hubs are at `endpoint`, with caches of its own."""
    homes = {"HF_HOME": "hf", "MODELSCOPE_CACHE": "ms", "MODELSCOPE_HOME": "home"}
    environment = {**os.environ, **{variable: str(home / folder) for variable, folder in homes.items()}}
    return environment | {
        "HF_ENDPOINT": endpoint, "MODELSCOPE_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "NO_PROXY": "*",
    }  # fmt: skip


@pytest.mark.parametrize("source", HUBS)
def test_a_model_is_taken_at_a_commit_without_its_pickles_and_then_needs_no_network(source, hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    first = take(source, MODEL, "", endpoint, tmp_path)
    assert first.returncode == 0, first.stderr
    identity, files = json.loads(first.stdout)
    assert identity == {"model": MODEL, "source": source, "revision": COMMIT, "sha256": None}
    assert files == ["config.json", "model.safetensors"]
    away = take(source, MODEL, COMMIT, NOBODY, tmp_path)
    assert away.returncode == 0, away.stderr
    assert json.loads(away.stdout) == [identity, files]


@pytest.mark.parametrize("cached", ["all of it", "a part", "no listing"])
def test_a_model_that_another_program_has_downloaded_needs_no_network(cached, hub, tmp_path):
    patterns = ["config.json"] if cached == "a part" else ["*.json", "*.safetensors"]
    arguments = f"'{MODEL}', revision='{COMMIT}', allow_patterns={patterns}"
    code = f"from huggingface_hub import snapshot_download; snapshot_download({arguments})"
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    assert run(code, environment=environment, folder=tmp_path).returncode == 0
    if cached == "no listing":  # as clients before 1.0 left it
        for listing in tmp_path.glob("hf/hub/*/trees/*.json"):
            listing.unlink()
    away = take("huggingface", MODEL, COMMIT, NOBODY, tmp_path)
    if cached == "a part":
        assert away.returncode == 1 and "does not answer" in away.stderr
    else:
        assert away.returncode == 0, away.stderr
        assert json.loads(away.stdout)[1] == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("source", HUBS)
def test_an_unknown_model_and_an_unknown_revision_are_configuration_errors(source, hub, tmp_path):
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    for model, revision in (("owner/other", ""), (MODEL, "v9")):
        result = take(source, model, revision, endpoint, tmp_path)
        assert result.returncode == 2, result.stderr
        assert model in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("source", HUBS)
def test_a_hub_that_does_not_answer_is_said_in_seconds(source, tmp_path):
    began = time.monotonic()
    result = take(source, MODEL, "", NOBODY, tmp_path)
    assert time.monotonic() - began < 15
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    assert all(word in result.stderr for word in (NAMES[source], MODEL, "--model_revision"))


@pytest.mark.parametrize("source", HUBS)
@pytest.mark.parametrize("words", ["infer --infer_backend vllm", "export --merge_lora true", "deploy --host 0.0.0.0"])
def test_commands_take_a_model_from_the_hub_and_at_the_revision_that_they_name(source, words, hub, tmp_path):
    """None of these commands goes on to load the model."""
    code = "from apps.cli.main import main; main()"
    words = [*words.split(), "--model", MODEL, "--model_revision", COMMIT, "--use_hf", str(source == "huggingface")]
    hub.requests.clear()
    ended = run(code, *words, environment=variables(f"http://127.0.0.1:{hub.server_port}", tmp_path), folder=tmp_path)
    assert ended.returncode == 2, ended.stderr
    listing = {"huggingface": f"/api/models/{MODEL}/tree/{COMMIT}", "modelscope": f"repo/files?Revision={COMMIT}"}
    assert any(listing[source] in request for request in hub.requests), ended.stderr
