"""A stand-in for both hubs on loopback that speaks their protocols for one dataset repository."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "f" * 40


class Handler(BaseHTTPRequestHandler):
    repo_id = "owner/name"
    files: dict[str, bytes]
    requests: list[str]

    def log_message(self, *_):
        self.requests.append(f"{self.command} {self.path}")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        hugging, scope = f"/api/datasets/{self.repo_id}", f"/api/v1/datasets/{self.repo_id}/repo"
        if path == "/":
            return self.answer(b"hub")
        if path in (hugging, f"{hugging}/revision/main", f"{hugging}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            return self.answer_json({"id": self.repo_id, "sha": COMMIT, "siblings": siblings})
        if path.startswith(f"{hugging}/tree/"):
            return self.answer_json(
                [{"type": "file", "path": n, "size": len(b), "oid": sha(b)} for n, b in self.files.items()]
            )
        if path.startswith(f"/datasets/{self.repo_id}/resolve/"):
            name = path.split("/", 6)[6]
            return self.answer(self.files[name], {"ETag": f'"{sha(self.files[name])}"', "X-Repo-Commit": COMMIT})
        if path == f"{scope}/tree":
            entries = [
                {"Path": name, "Type": "blob", "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest()}
                | {"Revision": COMMIT if name != "README.md" else OLDER, "CommittedDate": 10 - position}
                for position, (name, body) in enumerate(sorted(self.files.items(), key=lambda f: f[0] == "README.md"))
            ]
            return self.answer_json({"Code": 200, "Data": {"Files": entries}})
        if path == scope and query["Revision"][0] in (COMMIT, OLDER):
            return self.answer(self.files[query["FilePath"][0]])
        return self.answer(
            b'{"error": "Repository not found", "Message": "not found"}', {"X-Error-Code": "RepoNotFound"}, 404
        )

    def answer_json(self, value):
        self.answer(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def sha(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Yield the endpoint and the log of requests of a hub that has `files` in `owner/name`."""
    requests: list[str] = []
    handler = type("Hub", (Handler,), {"files": files, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
