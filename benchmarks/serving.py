"""Serving speed: seconds to the first answer, then tokens per second and latencies of 1 and 16 clients.

    python benchmarks/serving.py FOLDER                       # this engine
    python benchmarks/serving.py FOLDER --swift DIR/swift     # and ms-swift's `deploy`, from its own environment
    python benchmarks/serving.py FOLDER --transformers        # and `transformers serve`
    python benchmarks/serving.py --url http://127.0.0.1:8000/v1 --model NAME    # any other OpenAI-compatible server

Each server is a process that is started `--rounds` times in turn with the others, so that all see the same machine;
ratios are of the medians. Every client sends its own prompts, one to warm up and then four, 64 tokens each, at
temperature 0, with end-of-text banned so that all answers are equally long.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

PORT = 18473
NAME = "m"
FIRST_ANSWER_TIMEOUT_S = 300


def commands(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command of each server."""
    bin_, folder = Path(sys.executable).parent, arguments.folder
    servers = {
        "martlet": [f"{bin_}/martlet", "deploy", "--model", folder, "--port", str(PORT), "--served_model_name", NAME]
    }
    if arguments.swift:
        flags = [
            "--model",
            folder,
            "--model_type",
            "qwen3",
            "--template",
            "qwen3",
            "--infer_backend",
            "pt",
            "--max_batch_size",
            "16",
        ]
        more = ["--port", str(PORT), "--host", "127.0.0.1", "--served_model_name", NAME]
        servers["ms-swift"] = [f"{arguments.swift}/bin/swift", "deploy", *flags, *more, "--verbose", "false"]
    if arguments.transformers:
        more = ["--port", str(PORT), "--host", "127.0.0.1", "--continuous-batching"]
        servers["transformers serve"] = [f"{bin_}/transformers", "serve", folder, *more]
    return servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="a model folder to serve")
    parser.add_argument("--swift", help="an environment with ms-swift")
    parser.add_argument("--transformers", action="store_true", help="measure `transformers serve` too")
    parser.add_argument("--url", help="measure this server instead")
    parser.add_argument("--model", default=NAME)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    if arguments.url:
        for result in measured(arguments.url, arguments.model, arguments):
            print(json.dumps(result), flush=True)
        return
    results: dict[str, list[list[dict[str, Any]]]] = {}
    for _ in range(arguments.rounds):
        for name, command in commands(arguments).items():
            results.setdefault(name, []).append(run_of(command, arguments))
            print(name, json.dumps(results[name][-1]), flush=True)
    report(results)


def run_of(command: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Start a server, measure it and stop it."""
    socket.create_server(("127.0.0.1", PORT)).close()  # another server there would be measured instead
    begun = time.perf_counter()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with Path(os.devnull).open("w") as nowhere:
        server = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{PORT}/v1"
        model = NAME if "serve" not in command[1] else arguments.folder
        first_answer(url, model, server)
        start = {"measured": "start to first answer", "seconds": round(time.perf_counter() - begun, 2)}
        return [start, *measured(url, model, arguments)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def first_answer(url: str, model: str, server: subprocess.Popen) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    deadline = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.post(f"{url}/chat/completions", json=body, timeout=60, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"no answer from {' '.join(server.args)}")  # type: ignore[arg-type]


def measured(url: str, model: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a server that is up, with clients in this process."""
    return [
        asyncio.run(measure(url, model, clients, stream, arguments.tokens))
        for clients in arguments.clients
        for stream in (False, True)
    ]


async def measure(url: str, model: str, clients: int, stream: bool, tokens: int, rounds: int = 4) -> dict[str, Any]:
    """Return tokens per second and latencies of `clients` that send `rounds` requests each."""
    seconds: list[float] = []
    firsts: list[float] = []
    generated = 0

    async def ask(http: httpx.AsyncClient, client: int, round_: int) -> None:
        nonlocal generated
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"This is question {round_} of client {client}. Who are you?"}],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        begun = time.perf_counter()
        text, first, pieces = b"", 0.0, 0
        async with http.stream("POST", f"{url}/chat/completions", json=body) as answer:
            async for chunk in answer.aiter_raw():
                pieces += chunk.count(b'"content"')
                if not first and pieces > 1:  # after the chunk with the role
                    first = time.perf_counter() - begun
                text += chunk
        assert answer.is_success, text
        seconds.append(time.perf_counter() - begun)
        firsts.append(first)
        generated += count_of(text, stream)

    async def client(http: httpx.AsyncClient, number: int) -> None:
        for round_ in range(rounds):
            await ask(http, number, round_)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=600, limits=limits, trust_env=False) as http:
        await asyncio.gather(*(ask(http, number, -1) for number in range(clients)))
        seconds, firsts, generated = [], [], 0
        begun = time.perf_counter()
        await asyncio.gather(*(client(http, number) for number in range(clients)))
        elapsed = time.perf_counter() - begun
    return {
        "measured": f"{clients} clients, {'streaming' if stream else 'plain'}",
        "tokens_per_second": round(generated / elapsed),
        "tokens": generated,
        "p50_s": quantile(seconds, 0.5),
        "p95_s": quantile(seconds, 0.95),
        **({"first_token_p95_s": quantile(firsts, 0.95)} if stream else {}),
    }


def count_of(text: bytes, stream: bool) -> int:
    """Return the tokens of an answer, by its usage; where a stream has none, by its pieces."""
    if not stream:
        return json.loads(text)["usage"]["completion_tokens"]
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: {")]
    usages = [event["usage"] for event in events if event.get("usage")]
    return usages[-1]["completion_tokens"] if usages else sum(bool(event.get("choices")) for event in events)


def quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[int(share * (len(values) - 1))], 3)


def report(results: dict[str, list[list[dict[str, Any]]]]) -> None:
    """Print the medians, and the ratio of this engine's to each other server's."""
    medians = {
        name: {
            (entry["measured"], key): statistics.median(run[i][key] for run in runs)
            for i, entry in enumerate(runs[0])
            for key in entry
            if key not in ("measured", "tokens")
        }
        for name, runs in results.items()
    }
    for (measured_, key), ours in medians["martlet"].items():
        others = [
            f"{name} {table[measured_, key]:g} (ours {ours / table[measured_, key]:.2f} ×)"
            for name, table in medians.items()
            if name != "martlet" and table[measured_, key]
        ]
        print(f"{measured_:<24} {key:<20} {ours:>9g}   {'   '.join(others)}")


if __name__ == "__main__":
    main()
