"""A user's engine: a server in a thread that gives one answer to every question."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "an answer of the user's engine"
BUSY = "How many at a time?"
"""The question to which the answer is the number of requests that were under way together."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        question = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = self.count() if BUSY in question else ANSWER
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        body = json.dumps({**completion, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def count(self) -> str:
        with self.server.place:  # type: ignore[attr-defined]
            self.server.busy.append(self)  # type: ignore[attr-defined]
        time.sleep(0.1)
        with self.server.place:  # type: ignore[attr-defined]
            number = len(self.server.busy)  # type: ignore[attr-defined]
            self.server.busy.remove(self)  # type: ignore[attr-defined]
        return str(number)

    def log_message(self, *_):
        pass


@contextmanager
def served(model, adapters, settings):
    server = ThreadingHTTPServer((settings.host, settings.port), Handler)
    server.busy, server.place = [], threading.Lock()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{settings.host}:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
