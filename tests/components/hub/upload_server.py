"""A stand-in for the Hugging Face hub on loopback that takes uploads: files of a commit arrive in its body."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_writes"


@dataclass
class Uploads:
    """What the hub was given: repositories with their settings, files, and the messages of the commits."""

    endpoint: str = ""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    uploads: Uploads
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer({})

    def do_GET(self) -> None:
        self.answer({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "no right to write"}, 403)
        if self.path == "/api/repos/create":
            request = json.loads(body)
            name = f"{request.get('organization', 'me')}/{request['name']}"
            self.uploads.repositories[name] = request
            return self.answer({"url": f"{self.uploads.endpoint}/{name}", "name": name, "id": name})
        if self.path == "/api/validate-yaml":  # of the model card
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                self.uploads.messages.append(entry["value"]["summary"])
            else:
                self.uploads.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        commit = f"{self.uploads.endpoint}/owner/name/commit/{'a' * 40}"
        return self.answer({"commitUrl": commit, "commitOid": "a" * 40, "success": True})

    def answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve() -> Iterator[Uploads]:
    """Yield what a running hub is given."""
    uploads = Uploads()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"uploads": uploads}))
    uploads.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield uploads
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
