"""An engine of a few lines, run as a program: `python engine_program.py PORT WAY`.

`apply` answers with probabilities by the name of the model, `ignore` with the same to all; both die at a prompt with
the word "die". `die` ends with an error.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAY = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send({"data": [], "pid": os.getpid()})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "die" in body["prompt"]:
            print("MemoryError", flush=True)
            os._exit(3)
        number = -float(len(body["model"])) if WAY == "apply" else -0.5
        self.send({"choices": [{"text": "yes", "logprobs": {"token_logprobs": [number]}}]})

    def send(self, value: dict) -> None:
        is_allowed = self.headers.get("Authorization") == f"Bearer {os.environ['ENGINE_KEY']}"
        answer = json.dumps(value).encode()
        self.send_response(200 if is_allowed else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


if WAY == "die":
    print("ValueError: no such weights\nRuntimeError: Engine core initialization failed. See root cause above.")
    print("bye")
    sys.exit(3)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
