"""The table of docs/ms-swift.md, made from the schema and components/config/elsewhere.yaml: run this file to write it.

python -m tests.components.config.swift_table
"""

import dataclasses
from collections import defaultdict
from pathlib import Path

from components.config import CANONICAL, LEAVES
from components.config.elsewhere import answers

FLAGS = Path(__file__).with_name("swift_flags.txt")
PAGE = Path(__file__).parents[3] / "docs/ms-swift.md"
BEGIN = "<!-- what follows is written by tests/components/config/swift_table.py -->\n"
RENAMED = "here it is "


def names() -> list[str]:
    """Return the flags of ms-swift 4.6's commands, with those that its training inherits from transformers."""
    from transformers import TrainingArguments

    return sorted({*FLAGS.read_text().split(), *(field.name for field in dataclasses.fields(TrainingArguments))})


def table() -> str:
    """Return the part of the page that is generated: which flags are the same, which are renamed, and why not."""
    same = [name for name in names() if name in CANONICAL]
    others = {name: answers()[name] for name in names() if name not in CANONICAL}
    renamed = {name: reply.removeprefix(RENAMED) for name, reply in others.items() if reply.startswith(RENAMED)}
    renamed |= {name: f"--{CANONICAL[name]}" for name in same if name not in LEAVES}
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reply in others.items():
        if name not in renamed:
            reasons[reply].append(name)
    lines = ["## The same name", "", _listed([name for name in same if name in LEAVES]), ""]
    lines += ["## Another name", "", "| ms-swift | Martlet |", "|---|---|"]
    lines += [f"| `--{name}` | `{reply}` |" for name, reply in sorted(renamed.items())]
    lines += ["", "## Not there", "", "| why, and what serves instead | ms-swift |", "|---|---|"]
    # Without back-quotes: what stands in these is a command, and some are cut short.
    lines += [f"| {reply.replace('`', '')} | {_listed(found)} |" for reply, found in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def _listed(found: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


if __name__ == "__main__":
    head = PAGE.read_text().partition(BEGIN)[0]
    PAGE.write_text(f"{head}{BEGIN}\n{table()}")
