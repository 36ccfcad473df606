"""Answers to names that users know from other tools, and to near misses of our own names.

`elsewhere.yaml` holds the names of ms-swift, Hugging Face and LLaMA-Factory that are not Martlet's.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from components.config.schema import CANONICAL, LEAVES
from components.errors import did_you_mean

FILE = Path(__file__).with_name("elsewhere.yaml")


@cache
def _document() -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(FILE)  # type: ignore[reportUnknownMemberType]


@cache
def answers() -> dict[str, str]:
    """Return the answer to each name that is known elsewhere, as the end of a sentence that begins with the name."""
    renamed = {name: _renamed(target) for name, target in _document()["renamed"].items()}
    reasons = {name: entry["answer"] for entry in _document()["answers"] for name in entry["names"].split()}
    return renamed | reasons


def value_answer(parameter: str, value: str) -> str | None:
    """Return the answer to a value of a parameter that is known elsewhere, as the end of a sentence, or None."""
    target = _document()["values"].get(parameter, {}).get(value)
    return _renamed(target) if target and "=" in target else target


def _renamed(target: str) -> str:
    flags = " ".join(f"--{word.replace('=', ' ')}" for word in target.split())
    return f"here it is {flags}"


def answer(name: str) -> str | None:
    """Return the answer to a `name` that is not Martlet's but known elsewhere, or None for any other name."""
    positive = CANONICAL.get(name.removeprefix("no_"), "")
    if name not in CANONICAL and positive and LEAVES[positive].kind is bool:
        return f"here it is --{positive} false"
    return answers().get(name)


def unknown(kind: str, shown: str, name: str, valid: Iterable[str]) -> str:
    """Return what is wrong with `name`, which is not in `valid` and is `shown` to the user with its group or dashes:
    `SHOWN: answer`, or `unknown KIND SHOWN`, with the nearest valid name where `name` is a near miss."""
    if reply := answer(name):
        return f"{shown}: {reply}"
    return f"unknown {kind} {shown}{did_you_mean(name, valid)}"
