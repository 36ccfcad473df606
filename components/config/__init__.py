"""The vocabulary of Martlet: one schema for YAML, recipes, flags and overrides.

    params = load(Path("params.yaml"), read_overrides(["lora_rank=16"]))
    params.tuner.lora_rank

Names are ms-swift's and Hugging Face's. A parameter is declared once, in `groups/`, with its type, default, help and
aliases; flags, YAML keys and overrides follow from that.
"""

from components.config.elsewhere import value_answer
from components.config.flags import add_flags, is_taken, parse
from components.config.load import (
    Layer,
    difference,
    load,
    read_flags,
    read_mapping,
    read_overrides,
    read_yaml,
    resolve,
)
from components.config.schema import CANONICAL, FAMILIES, GROUPS, LEAVES, SAVED_GROUPS, Params

__all__ = [
    "CANONICAL",
    "FAMILIES",
    "GROUPS",
    "LEAVES",
    "SAVED_GROUPS",
    "Layer",
    "Params",
    "add_flags",
    "difference",
    "is_taken",
    "load",
    "parse",
    "read_flags",
    "read_mapping",
    "read_overrides",
    "read_yaml",
    "resolve",
    "value_answer",
]
