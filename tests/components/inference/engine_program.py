"""An engine of a few lines, run as a program: `python engine_program.py PORT WAY`.

It answers with its WAY and with probabilities by the name of the model; `ignore` has the same for all models, and `die`
ends with an error. A prompt with the word "die" kills it, in a stream after two pieces; "slow" is answered after three
seconds; "endless" is a stream until the client leaves, and "flood" one without pauses. GET tells its process, how many
clients have left, and how many pieces of streams are sent.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAY = sys.argv[2]
LEFT, SENT = [], []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send({"data": [], "pid": os.getpid(), "left": len(LEFT), "sent": len(SENT), "path": self.path})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(content)
        if "/echo" in self.path:
            return self.send({"path": self.path, "sent": content.decode(), "x": self.headers["X-Mine"]})
        if body.get("stream"):
            return self.stream(body)
        if "die" in body["prompt"]:
            die()
        if "slow" in body["prompt"] and self.has_left(3):
            return None
        number = -0.5 if WAY == "ignore" else -float(len(body["model"]))
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        answer = {"text": WAY, "logprobs": {"token_logprobs": [number]}}
        return self.send({"model": body["model"], "choices": [answer], "usage": usage})

    def stream(self, body: dict) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        count = 0
        is_flood = "flood" in body["prompt"]
        while count < 5 or is_flood or "endless" in body["prompt"]:
            if "die" in body["prompt"] and count == 2:
                self.chunk(b'data: {"choi')
                die()
            event = {"model": body["model"], "choices": [{"text": f"{count}" * (10_000 if is_flood else 1)}]}
            self.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
            count += 1
            SENT.append(count)
            if self.has_left(0 if is_flood else 0.2):
                return
        self.chunk(b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\n')
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def has_left(self, seconds: float) -> bool:
        """Return whether the client closes the connection within some time."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            LEFT.append(self.path)
            return True
        return False

    def send(self, value: dict) -> None:
        is_allowed = self.headers.get("Authorization") == f"Bearer {os.environ['ENGINE_KEY']}"
        answer = json.dumps(value).encode()
        self.send_response(200 if is_allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def die() -> None:
    print("MemoryError", flush=True)
    time.sleep(0.1)
    os._exit(3)


if WAY == "die":
    print("ValueError: no such weights\nRuntimeError: Engine core initialization failed. See root cause above.")
    print("bye")
    sys.exit(3)
subprocess.Popen(["sleep", "300"])  # a helper, as engines have, which outlives its parent if nobody ends it
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
