"""Soak of `martlet deploy`: thousands of requests to two adapters and their base, some cancelled, some malformed, while
adapters are exchanged. Counts lost requests and answers of the wrong adapter, and measures the server's memory.

    python benchmarks/soak.py models/base [--requests 5000]

The adapters are random LoRA adapters that change every answer. A request is lost if it gets no answer, or an error that
it does not deserve; an answer is wrong if it is not the one that its model gives alone.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil

CLIENTS = 16
QUESTIONS = [f"What is the answer to question {number}?" for number in range(20)]
CANCELLED, MALFORMED = 0.10, 0.05
MALFORMED_BODIES = [
    b"{",
    b'{"messages": []}',
    b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": -1}',
    b'{"messages": [{"role": "user", "content": "\xff"}]}',
    b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}',
]


def make_adapter(base: str, folder: Path, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    saved = {"model": {"model": str(Path(base).resolve()), "sha256": None}, "tuner": {"tuner_type": "lora"}}
    (folder / "args.json").write_text(json.dumps(saved))
    return folder


class Soak:
    """The counts of one run against the server at `url`."""

    def __init__(self, url: str, http: httpx.AsyncClient):
        self.url, self.http, self.random = url, http, random.Random(0)
        self.expected: dict[tuple[str, str], str] = {}
        self.lost = self.wrong = self.answered = self.cancelled = self.malformed = 0

    def body(self, model: str, question: str, stream: bool) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {"model": model, "messages": messages, "max_tokens": 16, "temperature": 0, "stream": stream}

    async def learn(self, models: list[str]) -> None:
        """Ask every model every question alone."""
        for model in models:
            for question in QUESTIONS:
                self.expected[model, question] = await self.text(model, question, False)

    async def text(self, model: str, question: str, stream: bool) -> str:
        answer = await self.http.post(f"{self.url}/chat/completions", json=self.body(model, question, stream))
        answer.raise_for_status()
        if not stream:
            return answer.json()["choices"][0]["message"]["content"]
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        return "".join(event["choices"][0]["delta"].get("content", "") for event in events)

    async def one(self, models: list[str]) -> None:
        chance = self.random.random()
        model, question = self.random.choice(models), self.random.choice(QUESTIONS)
        if chance < MALFORMED:
            body = self.random.choice(MALFORMED_BODIES)
            headers = {"Content-Type": "application/json"}
            answer = await self.http.post(f"{self.url}/chat/completions", content=body, headers=headers)
            self.malformed += 1
            self.lost += answer.status_code not in (400, 404) or "error" not in answer.json()
        elif chance < MALFORMED + CANCELLED:
            body = self.body(model, question, True) | {"max_tokens": 200}
            async with self.http.stream("POST", f"{self.url}/chat/completions", json=body) as answer:
                async for _ in answer.aiter_raw():
                    break
            self.cancelled += 1
        else:
            try:
                text = await self.text(model, question, chance > 0.6)
            except (httpx.HTTPError, KeyError, ValueError) as error:
                print("lost:", repr(error)[:300])
                self.lost += 1
                return
            self.answered += 1
            self.wrong += text != self.expected[model, question]

    async def swap(self, folder: Path) -> None:
        """Put an adapter of the same weights in the place of `first`."""
        body = {"lora_name": "first", "lora_path": str(folder)}
        (await self.http.post(f"{self.url}/load_lora_adapter", json=body)).raise_for_status()


async def run(url: str, server: psutil.Process, folders: list[Path], count: int) -> None:
    limits = httpx.Limits(max_connections=CLIENTS + 1)
    async with httpx.AsyncClient(timeout=300, limits=limits, trust_env=False) as http:
        soak, models = Soak(url, http), ["base", "first", "second"]
        await soak.learn(models)
        started = 0
        memory: list[int] = []

        async def client() -> None:
            nonlocal started
            while started < count:
                started += 1
                if started in (count // 3, 2 * count // 3):
                    await soak.swap(folders[0])
                if started % (count // 10) == 0:
                    memory.append(server.memory_info().rss >> 20)
                await soak.one(models)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        names = ("answered", "cancelled", "malformed", "lost", "wrong")
        print(json.dumps({name: getattr(soak, name) for name in names} | {"memory_mb": memory}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--requests", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = [make_adapter(arguments.base, Path(place) / name, i) for i, name in enumerate(("first", "second"))]
        named = [f"{folder.name}={folder}" for folder in folders]
        command = [str(Path(sys.executable).parent / "martlet"), "deploy", "--adapters", *named, "--port", "0"]
        flags = ["--served_model_name", "base", "--allow_runtime_lora_updating", "true", "--verbose", "false"]
        server = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True, env=os.environ)
        assert server.stdout
        url = server.stdout.readline().strip().rpartition(" at ")[2]
        try:
            asyncio.run(run(url, psutil.Process(server.pid), folders, arguments.requests))
        finally:
            server.send_signal(signal.SIGTERM)
            print("server ended with", server.wait(60))


if __name__ == "__main__":
    main()
