"""The loss of each dataset in an evaluation, by the name that Hugging Face's Trainer has for it: `eval_NAME_loss`."""

import re
from collections.abc import Mapping
from typing import Any

FIGURE = re.compile(r"eval_(?!(?:nll|value|policy|aux|sft)_loss)(.+)_loss")
"""But for the parts of a loss that alignment has."""
_END = re.compile(r"((\.[A-Za-z]+)*|@[^@/:]+)(#\d+)?$")
"""Suffixes, or the revision, and number of rows of a dataset's spec."""


def short_names(specs: list[str]) -> list[str]:
    """Return a name for each of several dataset specs, all different: `sounds` of `examples/sounds.jsonl#64`. A name is
    made of the last parts of its spec, as few as tell it from the others; suffix, revision and number of rows only
    where they do. It has letters, digits, and `_`, `-` and `.`."""
    for texts in ([_END.sub("", spec) for spec in specs], specs):
        parts = [[re.sub(r"[^\w.-]", "_", part) for part in re.split("[/:@]", text) if part] for text in texts]
        for count in range(1, max(map(len, parts), default=0) + 1):
            names = ["_".join(words[-count:]) for words in parts]
            if len(set(names)) == len(names):
                return names
    return [f"dataset{number}" for number in range(1, len(specs) + 1)]


def losses(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the loss of each dataset by its name, from the figures of an evaluation; none where there is one."""
    return {match[1]: value for name, value in figures.items() if (match := FIGURE.fullmatch(name))}
