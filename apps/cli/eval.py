"""Evaluate a model on your own questions and on EvalScope's benchmarks.

  martlet eval --model models/base --eval_dataset examples/eval/skills.jsonl
  martlet eval --model models/base --eval_dataset gsm8k mmlu --eval_limit 100
  martlet eval --eval_url http://127.0.0.1:8000/v1 \\
    --eval_dataset examples/eval/skills.jsonl --eval_scorer token_f1
  martlet eval --list math

--list shows the benchmarks, or those with a word in name, title or tags.
Without --model, --adapters and --eval_url the champion is evaluated. The same
command goes on where it was interrupted.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from apps.cli.infer import Progress
from components.config import read_flags, resolve
from components.errors import MartletError, did_you_mean
from components.texts import count
from tasks import effects, target

PARAMETERS = (
    "evaluate", "data.eval_dataset", "data.columns", "data.model_name", "data.model_author",
    "data.root_image_dir", "data.download_media", "multimodal",
    "run.eval_output_dir", "run.eval_url", "serve.served_model_name",
    *(f"reward.{name}" for name in ("code_timeout", "code_memory_gb", "judge_base_url", "judge_model", "judge_prompt",
                                    "reward_timeout")),
    *target.PARAMETERS, "vllm", "lmdeploy", "sglang",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", nargs="?", const="", metavar="WORD", help="list the benchmarks, and do nothing else")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    if arguments.list is not None:
        _list(arguments.list)
        return
    from tasks import evaluating

    typed = resolve(read_flags(flags))
    effects.require(flags, typed, effects.EVALUATING)
    sets = evaluating.question_sets(typed, Path.cwd())
    if typed.run.eval_url:
        subject = evaluating.of_server(typed.run.eval_url, typed.serve.served_model_name)
    else:
        subject = evaluating.of_target(target.merged(target.find(flags, note), note))
    folder, records = evaluating.evaluate(subject, sets, typed, Path.cwd(), Progress().of_line)
    from components.evaluation import summary

    for name, entry in summary(subject.name, records)["sets"].items():
        interval = f"{entry['low']:.1%} to {entry['high']:.1%}"
        print(f"{name:<24} {entry['accuracy']:>7.1%}  ({interval}, {count(entry['items'], 'question')})")
    print(f"every answer: {shown(folder / 'eval.html')}")


def _list(word: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from components.evaluation import benchmarks

    table = Table(box=None, pad_edge=False)
    for column in ("name", "title", "tags", "metrics", "items", "dataset"):
        table.add_column(column, justify="right" if column == "items" else "left", overflow="fold")
    listed = [entry for entry in benchmarks.catalogue() if word.lower() in " ".join(map(str, entry[:3])).lower()]
    if not listed:
        near = did_you_mean(word.lower(), benchmarks.names())
        raise MartletError(
            f"no benchmark has '{word}' in its name, title or tags{near}; `martlet eval --list` shows all"
        )
    for entry in listed:
        items = "" if entry.items is None else f"{entry.items:,}"
        table.add_row(entry.name, entry.title, ", ".join(entry.tags), ", ".join(entry.metrics), items, entry.dataset_id)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    print(f"{len(listed)} of {len(benchmarks.names())} benchmarks; a file of your own is a question set, too")


def shown(path: Path) -> Path:
    """Return a path as it is shown: relative to the current folder, if the path lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def note(line: str) -> None:
    """Print a line that is no result on standard error."""
    print(line, file=sys.stderr)
