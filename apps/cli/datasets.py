"""List the built-in datasets whose names, tags or subsets contain every word.

  martlet datasets                        all of them
  martlet datasets alpaca zh              search
  martlet datasets --task dpo             datasets for one task
  martlet datasets self-cognition --json  all fields of these, as JSON

Other datasets of a hub work too if their rows have a known format.
"""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apps.cli.listing import console, suggestions
from components.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from components.data.catalogue import Entry

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", help="words that names, tags or subsets contain")
    parser.add_argument("--task", help="only datasets for this task: sft, dpo, kto, grpo, pt, multimodal, reranker")
    parser.add_argument("--json", action="store_true", help="print JSON with all fields")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.data import catalogue

    if arguments.task not in (None, *catalogue.tasks()):
        choices = ", ".join(catalogue.tasks())
        raise ConfigError(f"--task must be one of {choices}{did_you_mean(arguments.task, catalogue.tasks())}")
    entries = catalogue.search(arguments.words, arguments.task)
    if not entries:
        raise ConfigError(_no_match(arguments.words, arguments.task))
    if arguments.json:
        print(json.dumps([_fields(entry) for entry in entries], indent=2, ensure_ascii=False))
    elif len(entries) == 1:
        _show(entries[0])
    else:
        _table(entries)


def _no_match(words: Sequence[str], task: str | None) -> str:
    """Return the message for a search without a result, with the nearest name or tag for each word."""
    from components.data import catalogue

    entries = catalogue.search((), task)
    names = [entry.name.rpartition("/")[2].lower() for entry in entries]
    texts = [*names, *{tag for entry in entries for tag in entry.tags}]
    of_task = f" for {task}" if task else ""
    near = suggestions(words, texts)
    return f"no built-in dataset{of_task} has all of: {' '.join(words)}; {near}`martlet datasets` lists them"


def _fields(entry: "Entry") -> dict[str, Any]:
    fields = {
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
    return {key: value for key, value in fields.items() if value not in (None, (), {})}


def _show(entry: "Entry") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in _fields(entry).items():
        text = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int | float) else _listed(value)
        table.add_row(key.replace("_", " "), text)
    Console(highlight=False, markup=False).print(table)


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{old} → {'left out' if new is None else new}" for old, new in value.items())
    return ", ".join(value)


def _table(entries: Sequence["Entry"]) -> None:
    """Print one line per dataset, two in a narrow terminal, so that names stay whole."""
    from rich.table import Table
    from rich.text import Text

    screen = console(160)
    wide = screen.width >= 110
    table = Table(box=None, pad_edge=False, caption=f"{len(entries)} datasets", caption_justify="left")
    table.add_column("name" if wide else "name, tags, licence", overflow="fold")
    table.add_column("task", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    if wide:
        table.add_column("tags")
        table.add_column("licence", no_wrap=True)
    for entry in entries:
        tags, licence = ", ".join(tag for tag in entry.tags if tag != "huge"), entry.licence or ""
        about = " · ".join(text for text in (tags, licence) if text)
        name = Text(entry.name) if wide else Text.assemble(entry.name, "\n  ", (about, "dim"))
        rows = "huge" if "huge" in entry.tags else f"{entry.rows:,}" if entry.rows else ""
        tokens = f"{entry.mean_tokens:,.0f}" if entry.mean_tokens else ""
        table.add_row(name, entry.task, rows, tokens, *((tags, licence) if wide else ()))
    screen.print(table)
