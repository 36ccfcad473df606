"""Look at data before anything is trained on it.

  martlet data show --model models/base --dataset examples/sounds.jsonl
      rows, with what is learned in colour
  martlet data show --model models/base --dataset examples/sounds.jsonl --json
      one object a row
  martlet data stats --model models/base --dataset examples/sounds.jsonl
      lengths, fill of batches, share learned
  martlet data diff examples/skills.jsonl examples/sounds.jsonl
      what changed between two versions of a dataset

show --json prints for each row `source`, `row`, and either `input_ids`,
`labels` and `supervised` (the learned tokens as text, turn by turn) or
`refused`, the reason. If a row becomes several samples, their tokens follow
each other and `lengths` has the length of each; a preference has `chosen` and
`rejected`, with these keys in both.
"""

import argparse
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from components.config import Params, read_flags, read_yaml, resolve
from components.errors import ConfigError
from tasks import preflight

PARAMETERS = (
    "data", "validation", "model", "method.rlhf_type", "template", "plugins", "train.per_device_train_batch_size",
    "run.dataset_num_proc",
)  # fmt: skip
DEFAULT_ROWS = 3
"""Rows that `show` prints without --rows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["show", "stats", "diff"])
    parser.add_argument("versions", nargs="*", metavar="DATASET", help="diff: the two datasets to compare")
    parser.add_argument("--config", type=Path, help="recipe (YAML) below the flags")
    parser.add_argument("--rows", type=int, metavar="N", help=f"show: number of rows [{DEFAULT_ROWS}; all with --json]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="show: write a self-contained page instead")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="stats: write the histogram as .png, .svg or .pdf")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    params = resolve(*([read_yaml(arguments.config)] if arguments.config else []), read_flags(flags))
    if arguments.action == "diff":
        _diff(arguments, params)
        return
    needed = {"model": params.model.model, "dataset": params.data.dataset}
    if missing := [f"--{name} is needed" for name, value in needed.items() if not value]:
        raise ConfigError("; ".join(missing) + "; `martlet data --help` shows examples")
    if problems := preflight.missing(params):
        raise ConfigError("\n".join(problems))
    (_show if arguments.action == "show" else _stats)(arguments, params)


def _show(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.tokens_view import as_json, write_page, write_terminal
    from tasks import looking

    if arguments.rows is not None and arguments.rows < 1:
        raise ConfigError("--rows: at least 1")
    limit = arguments.rows or (None if arguments.json else DEFAULT_ROWS)
    with looking.rows(params, Path.cwd()) as (tokenizer, all_rows):
        rows = islice(all_rows, limit)
        if arguments.json:
            for row in rows:
                sys.stdout.write(as_json(tokenizer, row) + "\n")
        elif arguments.html:
            count = write_page(arguments.html, tokenizer, rows)
            print(f"{arguments.html}: {count} rows")
        else:
            write_terminal(tokenizer, rows)


def _stats(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.stats_view import as_json, write_plot, write_terminal
    from tasks import looking

    if arguments.plot and arguments.plot.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--plot {arguments.plot}: its name must end in .png, .svg or .pdf")
    stats = looking.stats(params, Path.cwd())
    if arguments.plot:
        write_plot(arguments.plot, stats)
    if arguments.json:
        print(as_json(stats))
    else:
        write_terminal(stats)


def _diff(arguments: argparse.Namespace, params: Params) -> None:
    from apps.cli.diff_view import as_json, write_terminal
    from tasks import looking

    if len(arguments.versions) != 2:
        raise ConfigError("martlet data diff needs two datasets: martlet data diff old.jsonl new.jsonl")
    before, after = arguments.versions
    difference = looking.difference(params, before, after, Path.cwd())
    if arguments.json:
        print(as_json(difference))
    else:
        write_terminal(before, after, difference)
