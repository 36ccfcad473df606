"""List the runs of this workspace and of the run folders: date, model, data, loss, score, verdict, folder.

martlet runs                        the workspace, .runs/ and output/, the newest last
martlet runs --output_dir elsewhere

MLflow has the earlier runs of the workspace itself.
"""

import argparse
import time
from pathlib import Path
from typing import Any

PARAMETERS = ("run.output_dir",)
FILE_WIDTH = 240
"""Characters of a line where there is no terminal to be as wide as."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no flags."""


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from components.config import read_flags, resolve
    from tasks.history import runs

    listed = runs(Path.cwd(), Path(resolve(read_flags(flags)).run.output_dir))
    if not listed:
        print("no run yet; `martlet run` or `martlet sft` makes one")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("date", "model", "data", "loss", "score", "verdict", "folder"):
        table.add_column(column, justify="right" if column in ("loss", "score") else "left", overflow="fold")
    for entry in listed:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.began))
        loss = "" if entry.loss is None else f"{entry.loss:.4f}"
        score = "" if entry.score is None else f"{entry.score:.1%}"
        table.add_row(date, entry.model, entry.data, loss, score, entry.verdict, str(entry.folder))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)
