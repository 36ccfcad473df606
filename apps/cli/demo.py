"""Build a tiny base model and take it through the whole pipeline, then ask the
champion who it is.

  martlet demo              the tiny model: no GPU, no network
  martlet demo --base_only  only build the tiny base model, into models/base
  martlet demo --vision     the same with a tiny model that sees pictures

--model takes another model through the pipeline: Qwen/Qwen3-0.6B, or a folder.
"""

import argparse
import base64
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError

PARAMETERS = ("model.model",)


@dataclass(frozen=True)
class Demo:
    """What is built, run and asked."""

    base: Path
    made_from: str
    question: str
    picture: Path | None = None
    recipe: str | None = None
    registered: str | None = None
    """The name of the recipe's model in the registry."""


TEXT = Demo(Path("models/base"), "text", "Who are you?")
VISION = Demo(
    Path("models/vision-base"),
    "pictures and text",
    "Which paint is it?",
    picture=Path("examples/pictures/eval/images/000.png"),
    recipe="recipes/tiny-vlm.yaml",
    registered="martlet-vision-demo",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base_only", action="store_true", help="build the tiny base model and stop")
    parser.add_argument("--vision", action="store_true", help="with a tiny model that sees pictures")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> int:
    from apps.cli.main import dispatch

    start, demo = time.monotonic(), VISION if arguments.vision else TEXT
    if arguments.vision and flags:
        raise ConfigError("--vision: the demo with pictures has its own model; leave --model out, or --vision")
    if "model" not in flags:
        _build(demo)
    if arguments.base_only:
        return 0
    changes = [demo.recipe] if demo.recipe else [f"model={flags[name]}" for name in flags]
    code = dispatch(["run", *changes])
    if code:
        return code
    with _deployed(demo) as (address, model):
        answer = _ask(address, model, demo)
    # A run with a recipe or another model works in a worktree; its reports are then copied to the history.
    home = max(Path(".runs/history").iterdir(), key=lambda p: p.stat().st_mtime) if changes else Path()
    _screen(home / "reports/eval", demo.question, answer, time.monotonic() - start)
    return 0


def _build(demo: Demo) -> None:
    from components.embedded import build_base, build_vision_base

    def show(step: int, steps: int, loss: float) -> None:
        if step == steps or step % 100 == 0:
            print(f"  tiny base: step {step}/{steps}  loss {loss:.3f}", flush=True)

    print(f"the tiny base, {demo.base}: about two million weights, trained here from generated {demo.made_from}, once")
    sys.stdout.flush()
    build = build_vision_base if demo is VISION else build_base
    if not build(demo.base, show):
        print("  is there already")


@contextmanager
def _deployed(demo: Demo) -> Generator[tuple[str, str]]:
    """Serve the champion on a free port with `martlet deploy`; yield its address and model name."""
    words = [sys.executable, "-m", "apps.cli.main", "deploy", "--port", "0"]
    if demo.registered:
        words += ["--model", str(_champion(demo.registered)), "--served_model_name", demo.registered]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        line = server.stdout.readline().strip()
        if " at http" not in line:
            raise MartletError("the champion could not be served; `martlet deploy` says why")
        yield line.rpartition(" at ")[2], line.split("'")[-2]
    finally:
        server.terminate()
        server.wait(timeout=10)


def _champion(name: str) -> Path:
    """Return the folder of the champion of another name than that of params.yaml, which `martlet deploy` would take."""
    from components import registry

    champion = registry.champion(name, Path.cwd())
    if not champion:
        raise MartletError(f"'{name}' has no champion: the gate did not open, as reports/gate.json of the run says")
    return champion.folder


def _ask(address: str, model: str, demo: Demo) -> str:
    import httpx

    from tasks.serving import api_key

    headers = {"Authorization": f"Bearer {key}"} if (key := api_key()) else {}
    content: Any = demo.question
    if demo.picture:
        url = f"data:image/png;base64,{base64.b64encode(demo.picture.read_bytes()).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": demo.question}]
    request = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 64}
    reply = httpx.post(f"{address}/chat/completions", json=request, headers=headers, timeout=120)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]


def _screen(reports: Path, question: str, answer: str, seconds: float) -> None:
    """Print answers before and after, scores, the answer of the served champion, and the next commands."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    answers = Table(title="before and after, on questions that were not trained on", title_justify="left")
    for column in ("", "question", "base", "after fine-tuning"):
        answers.add_column(column, overflow="fold")
    for row in _examples(reports):
        answers.add_row(*row)
    scores = Table(title="share of right answers, with 95 % intervals", title_justify="left")
    for column in ("questions", *(candidates := _candidates(reports))):
        scores.add_column(column, justify="left" if column == "questions" else "right")
    for questions, by_candidate in _scores(reports).items():
        scores.add_row(questions, *(by_candidate.get(candidate, "") for candidate in candidates))
    console.print()
    console.print(answers)
    console.print(scores)
    console.print(f"the champion, served with OpenAI's API:\n  [bold]{question}[/]\n  {answer}\n")
    console.print(f"{seconds:.0f} s in all. Next:")
    for what, command in (
        ("who it is", "edit model_name in params.yaml, then `martlet run`"),
        ("another rank", "martlet run lora_rank=16"),
        ("serve it", "martlet deploy"),
        ("take it back", "martlet rollback, once a second champion has followed this one"),
        ("your own data", "martlet sft --help"),
    ):
        console.print(f"  {what:<14} {command}", markup=False)


def _candidates(reports: Path) -> list[str]:
    names = [file.stem for file in reports.glob("*.json")]
    leading = [name for name in ("base", "merged") if name in names]
    return leading + sorted(set(names) - set(leading))


def _examples(reports: Path) -> list[tuple[str, str, str, str]]:
    """Return set, question, and the answers of base and fine-tuned model, for one question of each set: a question that
    only the fine-tuned model answers well, if there is any."""
    import pyarrow.parquet as parquet

    before, after = (parquet.ParquetFile(reports / f"{name}.parquet").read().to_pylist() for name in ("base", "merged"))
    examples: dict[str, tuple[str, str, str, str]] = {}
    for old, new in zip(before, after, strict=True):
        row = (new["set"], new["query"], old["answer"], new["answer"])
        is_better = old["score"] < new["score"]
        if new["set"] not in examples or (is_better and examples[new["set"]][2] == examples[new["set"]][3]):
            examples[new["set"]] = row
    return list(examples.values())


def _scores(reports: Path) -> dict[str, dict[str, str]]:
    """Return the accuracy with its interval as text, by question set and candidate."""
    from components.files import read_json

    table: dict[str, dict[str, str]] = {}
    for candidate in _candidates(reports):
        for name, score in read_json(reports / f"{candidate}.json")["sets"].items():
            accuracy = score["accuracy"] if score["accuracy"] == 1 else min(score["accuracy"], 0.999)
            share = f"{accuracy:.1%}".replace(".0%", "%")  # 203 of 204 are not 100%
            text = f"{share} ({score['low']:.0%}–{score['high']:.0%})"
            table.setdefault(name, {})[candidate] = text
    return table
