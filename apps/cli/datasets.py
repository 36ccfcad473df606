"""List the built-in datasets: those that have every word in their names, tags or subsets.

martlet datasets                        all of them
martlet datasets math zh                search
martlet datasets --task dpo             those for one task
martlet datasets self-cognition --json  all that is known of them, one object

Any other dataset of a hub works too, as long as its rows have a known format.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from components.data.catalogue import Entry

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", help="words to look for, in names, tags and subsets")
    parser.add_argument("--task", help="only datasets for this: sft, dpo, kto, grpo, pt, multimodal, reranker")
    parser.add_argument("--json", action="store_true", help="print JSON, with everything that is known")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    from components.data import catalogue

    if arguments.task not in (None, *catalogue.tasks()):
        choices = ", ".join(catalogue.tasks())
        raise ConfigError(f"--task must be one of {choices}{did_you_mean(arguments.task, catalogue.tasks())}")
    found = catalogue.search(arguments.words, arguments.task)
    if not found:
        raise ConfigError(_nothing(arguments.words, arguments.task))
    if arguments.json:
        print(json.dumps([_described(entry) for entry in found], indent=2, ensure_ascii=False))
    elif len(found) == 1:
        _show(found[0])
    else:
        _table(found)


def _nothing(words: Sequence[str], task: str | None) -> str:
    from components.data import catalogue

    known = catalogue.search((), task)
    short = {entry.name.rpartition("/")[2].lower(): entry.name for entry in known}
    texts = [*short, *{tag for entry in known for tag in entry.tags}]
    nearest = {word: did_you_mean(word.lower(), texts) for word in words}
    told = "".join(f"{word}{near}; " for word, near in nearest.items() if near)
    of_task = f" for {task}" if task else ""
    return f"no built-in dataset{of_task} has all of: {' '.join(words)}; {told}`martlet datasets` lists them"


def _described(entry: "Entry") -> dict[str, Any]:
    facts = {
        "name": entry.name,
        "task": entry.task,
        "modelscope": entry.modelscope,
        "huggingface": entry.huggingface,
        "subsets": entry.subsets,
        "default_subsets": entry.default_subsets,
        "split": entry.split,
        "rows": entry.rows,
        "mean_tokens": entry.mean_tokens,
        "tags": entry.tags,
        "licence": entry.licence,
        "columns": entry.columns,
        "converter": entry.converter,
        "help": entry.help,
    }
    return {key: value for key, value in facts.items() if value not in (None, (), {})}


def _show(entry: "Entry") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in _described(entry).items():
        text = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int | float) else _listed(value)
        table.add_row(key.replace("_", " "), text)
    Console(highlight=False, markup=False).print(table)


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{old} → {'left out' if new is None else new}" for old, new in value.items())
    return ", ".join(value)


def _table(found: Sequence["Entry"]) -> None:
    """A line for each; in a narrow terminal two, so that names stay whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    wide = console.width >= 110
    table = Table(box=None, pad_edge=False, caption=f"{len(found)} datasets", caption_justify="left")
    table.add_column("name" if wide else "name, tags, licence", overflow="fold")
    table.add_column("task", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    if wide:
        table.add_column("tags")
        table.add_column("licence", no_wrap=True)
    for entry in found:
        tags, licence = ", ".join(tag for tag in entry.tags if tag != "huge"), entry.licence or ""
        about = " · ".join(text for text in (tags, licence) if text)
        name = Text(entry.name) if wide else Text.assemble(entry.name, "\n  ", (about, "dim"))
        rows = "huge" if "huge" in entry.tags else f"{entry.rows:,}" if entry.rows else ""
        tokens = f"{entry.mean_tokens:,.0f}" if entry.mean_tokens else ""
        table.add_row(name, entry.task, rows, tokens, *((tags, licence) if wide else ()))
    console.print(table)
