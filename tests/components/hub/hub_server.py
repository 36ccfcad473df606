"""A stand-in for both hubs on loopback that speaks the protocols of their clients for one dataset repository.

with hub({"data/train.jsonl": b"..."}) as (endpoint, requests):           # the branch main, or master, at COMMIT
with hub(FILES, commits={OLDER: OLD_FILES}) as server:                    # more commits, and what goes wrong
    server.state.broken["data/train.jsonl"] = 100
"""

import hashlib
import json
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

REPO_ID = "owner/name"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "f" * 40
PAGE = 2
"""Entries on a page of Hugging Face's listing; ModelScope's client says how many it wants."""


@dataclass
class State:
    """What the hub has, what goes wrong with it, and what was asked and served."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    token: str | None = None
    gated: bool = False
    lfs: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the listing gives in place of the true ones."""
    damaged: dict[str, bytes] = field(default_factory=dict)
    """Bytes that are served in place of those that the listing describes."""
    broken: dict[str, list[int]] = field(default_factory=dict)
    """After how many bytes of a file the connection ends, once for each number; when it is negative, with a reset."""
    statuses: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """Answers that come first, the last of them for ever, by a part of the path that is asked for."""
    requests: list[str] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    """Bytes of every file that were sent."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    endpoint: str = ""


class Handler(BaseHTTPRequestHandler):
    state: State

    def log_message(self, *_):
        self.state.requests.append(f"{self.command} {self.path}")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
        if path == "/":
            return self.answer(b"hub")
        for part, answers in self.state.statuses.items():
            if part in unquote(self.path):
                with self.state.lock:
                    status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                if status != 200:
                    return self.answer_json({"error": "as told", "Message": "as told"}, headers, status)
        if self.state.token and self.headers.get("Authorization") != f"Bearer {self.state.token}":
            status = 403 if self.headers.get("Authorization") else 401
            return self.answer_json({"error": "no access", "Message": "no access"}, {}, status)
        if path.startswith(f"/api/v1/datasets/{REPO_ID}/repo"):
            return self.modelscope(path, query)
        if path.startswith((f"/api/datasets/{REPO_ID}", f"/datasets/{REPO_ID}/resolve/")):
            return self.huggingface(path, query)
        return self.absent("RepoNotFound")

    def huggingface(self, path: str, query: dict[str, str]):
        if path.startswith("/datasets/"):
            commit, _, name = path.removeprefix(f"/datasets/{REPO_ID}/resolve/").partition("/")
            if self.state.gated:
                return self.answer_json({"error": "gated"}, {"X-Error-Code": "GatedRepo"}, 403)
            body = self.state.commits[commit][name]
            headers = {"ETag": f'"{sha256(body) if name in self.state.lfs else blob(body)}"', "X-Repo-Commit": commit}
            return self.send_file(name, body, headers)
        _, _, rest = path.removeprefix(f"/api/datasets/{REPO_ID}").partition("/")
        command, _, revision = rest.partition("/")
        commit = self.commit(revision or "main")
        if commit is None:
            return self.absent("RevisionNotFound")
        files = self.state.commits[commit]
        if command != "tree":
            siblings = [{"rfilename": name} for name in files]
            return self.answer_json({"id": REPO_ID, "sha": commit, "siblings": siblings})
        entries = []
        for name, body in files.items():
            entry = {"type": "file", "path": name, "size": self.size(name, body), "oid": blob(body)}
            if name in self.state.lfs:
                large = {"oid": sha256(body), "size": self.size(name, body), "pointerSize": 130}
                entry |= {"oid": blob(b"pointer"), "lfs": large}
            entries.append(entry)
        start = int(query.get("cursor", 0))
        following = f"http://{self.headers['Host']}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}"
        link = {"Link": f'<{following}>; rel="next"'} if len(entries) > start + PAGE else {}
        return self.answer_json(entries[start : start + PAGE], link)

    def modelscope(self, path: str, query: dict[str, str]):
        commit = self.commit(query["Revision"])
        if commit is None:
            return self.absent("RevisionNotFound")
        files = self.state.commits[commit]
        if not path.endswith("/tree"):
            return self.send_file(query["FilePath"], files[query["FilePath"]], {})
        # A file's Revision is the last commit that touched it: the newest is not that of the README.
        names = sorted(files, key=lambda name: name == "README.md")
        entries = [
            {"Path": name, "Type": "blob", "Size": self.size(name, files[name]), "Sha256": sha256(files[name])}
            | {"Revision": OLDER if name == "README.md" else commit, "CommittedDate": 10 - min(position, 9)}
            for position, name in enumerate(names)
        ]
        page, size = int(query.get("PageNumber", 1)), int(query.get("PageSize", 100))
        return self.answer_json({"Code": 200, "Data": {"Files": entries[(page - 1) * size : page * size]}})

    def commit(self, revision: str) -> str | None:
        revision = self.state.branches.get(revision, revision)
        return revision if revision in self.state.commits else None

    def size(self, name: str, body: bytes) -> int:
        return self.state.sizes.get(name, len(body))

    def send_file(self, name: str, body: bytes, headers: dict[str, str]):
        body = self.state.damaged.get(name, body)
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked:
            headers = headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        stops = self.state.broken.get(name) if self.command == "GET" else None
        stop = stops.pop(0) if stops else len(body)
        part = body[start : abs(stop)]
        self.answer(part, headers, 206 if asked else 200, len(body) - start)
        if self.command == "GET":
            self.state.served[name] += len(part)
        if stops is not None and abs(stop) < len(body):
            self.close_connection = True
            if stop < 0:  # a socket that is closed with nothing to linger for sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())

    def absent(self, code: str):
        self.answer_json({"error": "not found", "Message": "not found"}, {"X-Error-Code": code}, 404)

    def answer_json(self, value, headers: dict[str, str] | None = None, status: int = 200):
        body = json.dumps(value).encode()
        self.answer(body, {"Content-Type": "application/json", **(headers or {})}, status)

    def answer(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200, length: int | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def blob(body: bytes) -> str:
    """Git's name for a file."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


@contextmanager
def serve(files: dict[str, bytes], commits: dict[str, dict[str, bytes]] | None = None, **faults) -> Iterator[State]:
    """Yield the state of a running hub that has `files` in `owner/name`."""
    state = State({COMMIT: files, **(commits or {})}, {"main": COMMIT, "master": COMMIT}, **faults)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"state": state}))
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Yield the endpoint and the log of requests of a hub that has `files` in `owner/name` and never fails."""
    with serve(files) as state:
        yield state.endpoint, state.requests
