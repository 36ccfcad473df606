"""Any architecture: a tiny model of each type goes through loading, LoRA, saving, merging and generation."""

import re

import pytest

from benchmarks.architectures import TABLE, result_of
from benchmarks.tiny_models import causal_types, tiny
from components.config import Params
from components.errors import ConfigError
from components.tuners import lora

SOME = (
    "llama", "qwen3", "gemma3_text", "phi", "glm4", "gpt2", "gpt_neox", "bloom", "opt", "falcon", "mamba", "mixtral",
    "deepseek_v3", "qwen3_5_text", "bart",
)  # fmt: skip
"""Fused and plain projections, Conv1D, ALiBi, state spaces, experts that share an MLP, linear attention, a decoder
whose cross-attention has nothing to read."""


def passing() -> set[str]:
    """The types that docs/architectures.md lists as passing."""
    return set(re.findall(r"^\| (\S+) \|", TABLE.read_text().partition("## What does not pass")[0], re.MULTILINE))


@pytest.mark.parametrize("model_type", SOME)
def test_a_model_learns_by_lora_and_keeps_what_it_learned(model_type: str) -> None:
    assert result_of(model_type).get("problem") is None


@pytest.mark.slow  # minutes: about 190 models
@pytest.mark.parametrize("model_type", sorted(causal_types()))
def test_the_table_of_the_docs_is_true(model_type: str) -> None:
    assert (result_of(model_type).get("problem") is None) == (model_type in passing())


def test_a_target_where_nothing_can_learn_is_refused_and_left_out_of_others() -> None:
    params = Params.model_validate({"tuner": {"target_modules": ["out_proj"]}})
    with pytest.raises(ConfigError, match="an adapter on 'out_proj' would learn nothing"):
        lora.wrap(tiny("mamba"), params, 1)
    with pytest.raises(ConfigError, match="an adapter on 'router' would learn nothing"):
        lora.wrap(tiny("phimoe"), Params.model_validate({"tuner": {"target_modules": ["router"]}}), 1)
    adapted = lora.wrap(tiny("bart"), Params.model_validate({"tuner": {"target_modules": ["q_proj"]}}), 1)
    names = {name for name, _ in adapted.named_parameters() if "lora_A" in name}
    assert len(names) == 2
    assert all("self_attn" in name for name in names)
