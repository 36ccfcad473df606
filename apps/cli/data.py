"""Look at data before anything is trained on it.

  martlet data show --model models/base --dataset my.jsonl              rows, with what is learned in colour
  martlet data show --model models/base --dataset my.jsonl --json       one object a row
  martlet data stats --model models/base --dataset my.jsonl other.jsonl lengths, fill of batches, share learned
  martlet data diff old.jsonl new.jsonl                                 what changed between two versions

show --json gives for each row `source`, `row`, and `input_ids`, `labels`, `supervised` (what is learned, decoded, turn
by turn) or `refused` with the reason. A row that is learned in several samples gives them one after the other, and
`lengths` says where each ends; a preference has `chosen` and `rejected` instead.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from components.config import Params, read_flags, read_yaml, resolve
from components.errors import ConfigError
from tasks import preflight

PARAMETERS = ("data", "validation", "model", "template", "train.per_device_train_batch_size", "run.dataset_num_proc")
SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["show", "stats", "diff"])
    parser.add_argument("versions", nargs="*", metavar="DATASET", help="diff: the two datasets to compare")
    parser.add_argument("--config", type=Path, help="recipe (YAML) below the flags")
    parser.add_argument("--rows", type=int, metavar="N", help=f"show: how many [{SHOWN}; all with --json]")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="show: a page instead; it stands alone")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="stats: the histogram as PNG or SVG")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    params = resolve(*([read_yaml(arguments.config)] if arguments.config else []), read_flags(given))
    if arguments.action == "diff":
        _diff(arguments, params)
        return
    needed = {"model": params.model.model, "dataset": params.data.dataset}
    if missing := [f"--{name} is needed" for name, value in needed.items() if not value]:
        raise ConfigError("; ".join(missing) + "; `martlet data --help` shows examples")
    if problems := preflight.problems(params):
        raise ConfigError("\n".join(problems))
    (_show if arguments.action == "show" else _stats)(arguments, params)


def _show(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.tokens_view import as_json, write_page, write_terminal
    from tasks import looking

    if arguments.rows is not None and arguments.rows < 1:
        raise ConfigError("--rows: at least 1")
    limit = arguments.rows or (None if arguments.json else SHOWN)
    with looking.rows(params, Path.cwd()) as (tokenizer, found):
        chosen = islice(found, limit)
        if arguments.json:
            for row in chosen:
                sys.stdout.write(as_json(tokenizer, row) + "\n")
        elif arguments.html:
            count = write_page(arguments.html, tokenizer, chosen)
            print(f"{arguments.html}: {count} rows")
        else:
            write_terminal(tokenizer, chosen)


def _stats(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.stats_view import as_json, write_plot, write_terminal
    from tasks import looking

    if arguments.plot and arguments.plot.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--plot {arguments.plot}: its name must end in .png, .svg or .pdf")
    found = looking.stats(params, Path.cwd())
    if arguments.plot:
        write_plot(arguments.plot, found)
    if arguments.json:
        print(as_json(found))
    else:
        write_terminal(found)


def _diff(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.diff_view import as_json, write_terminal
    from tasks import looking

    if len(arguments.versions) != 2:
        raise ConfigError("martlet data diff needs two datasets: martlet data diff old.jsonl new.jsonl")
    before, after = arguments.versions
    found = looking.difference(params, before, after, Path.cwd())
    if arguments.json:
        print(as_json(found))
    else:
        write_terminal(before, after, found)
