"""Serving speed: seconds until the server answers, then tokens per second for 1 and 16 clients of 64 tokens each.

    python benchmarks/serving.py models/base
    python benchmarks/serving.py --url http://127.0.0.1:8000/v1 --model NAME      # any other OpenAI-compatible server

The server and its clients are two processes, as in real use. Each client sends its own prompts, four after one to warm
up; latencies are those of whole answers.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="a model folder to serve")
    parser.add_argument("--url", help="measure this server instead")
    parser.add_argument("--model", default="martlet")
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    if arguments.url:
        for clients in (1, 16):
            for stream in (False, True):
                print(json.dumps(asyncio.run(measure(arguments, clients, stream))), flush=True)
        return

    start = time.perf_counter()
    from pathlib import Path

    from components.inference import ENGINES, ServeSettings
    from tasks.loading import load

    engine = ENGINES.load("transformers")
    with engine.served(Path(arguments.folder), [], ServeSettings(load, [arguments.model])) as url:
        print(f"up after {time.perf_counter() - start:.1f} s")
        subprocess.run([sys.executable, __file__, "--url", url, "--tokens", str(arguments.tokens)], check=True)


async def measure(arguments: argparse.Namespace, clients: int, stream: bool, rounds: int = 4) -> dict[str, object]:
    """Return tokens per second and latencies of `clients` that send `rounds` requests each."""
    import httpx

    seconds: list[float] = []
    tokens = 0

    async def ask(http: httpx.AsyncClient, client: int, round_: int) -> None:
        nonlocal tokens
        body = {
            "model": arguments.model,
            "messages": [{"role": "user", "content": f"This is question {round_} of client {client}. Who are you?"}],
            "max_tokens": arguments.tokens,
            "temperature": 0,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        start = time.perf_counter()
        answer = await http.post(f"{arguments.url}/chat/completions", json=body)
        answer.raise_for_status()
        seconds.append(time.perf_counter() - start)
        last = answer.text.strip().split("\n\n")[-2].removeprefix("data: ") if stream else answer.text
        tokens += json.loads(last)["usage"]["completion_tokens"]

    async def client(http: httpx.AsyncClient, number: int) -> None:
        for round_ in range(rounds):
            await ask(http, number, round_)

    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=clients)) as http:
        await asyncio.gather(*(ask(http, number, -1) for number in range(clients)))
        seconds, tokens = [], 0
        start = time.perf_counter()
        await asyncio.gather(*(client(http, number) for number in range(clients)))
        elapsed = time.perf_counter() - start
    ordered = sorted(seconds)
    return {
        "clients": clients,
        "stream": stream,
        "tokens_per_second": round(tokens / elapsed),
        "tokens": tokens,
        "p50_s": round(statistics.median(ordered), 3),
        "p95_s": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
    }


if __name__ == "__main__":
    main()
