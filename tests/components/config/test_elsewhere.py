"""Names of other tools are answered by name, and near misses of our own get the nearest name."""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from components.config import CANONICAL, GROUPS, add_flags, parse, read_flags, read_overrides, resolve, value_answer
from components.config.elsewhere import FILE, answers
from components.errors import ConfigError, did_you_mean
from tasks.stages import methods
from tests.components.config.swift_table import BEGIN, PAGE, table

SWIFT = (Path(__file__).parent / "swift_flags.txt").read_text().split()
"""Every argument of ms-swift 4.6's commands."""


def names_of(*configurations: Any) -> set[str]:
    return {field.name for configuration in configurations for field in dataclasses.fields(configuration)}


def hugging_face() -> set[str]:
    """The flags of transformers, TRL and peft as they are installed."""
    import trl
    from peft import LoraConfig
    from transformers import TrainingArguments

    return names_of(
        TrainingArguments, LoraConfig, trl.SFTConfig, trl.DPOConfig, trl.KTOConfig, trl.GRPOConfig, trl.RewardConfig,
        trl.ModelConfig, trl.ScriptArguments,
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="martlet sft", allow_abbrev=False)
    add_flags(made, GROUPS)
    return made


def error(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(parser(), [*words])
    return str(caught.value)


def test_every_flag_of_ms_swift_and_hugging_face_is_ours_or_answered_by_its_name() -> None:
    names = sorted({*SWIFT, *hugging_face()} - CANONICAL.keys())
    assert len(names) > 350
    message = error(*(f"--{name}" for name in names))
    answered = {line.strip().partition(":")[0].removeprefix("--") for line in message.splitlines()[1:]}
    assert answered == set(names)
    assert "did you mean" not in message


def test_no_name_has_two_answers_or_became_ours() -> None:
    text = re.sub(r"#.*", "", FILE.read_text())
    names = re.findall(r"\w+", " ".join(re.findall(r"names:((?: \|)?(?:[ \n]+\w+\b(?!:))+)", text)))
    names += re.findall(r"^  (\w+): ", text.partition("answers:")[0], re.MULTILINE)
    assert len(names) == len(set(names)) == len(answers())
    assert not answers().keys() & CANONICAL.keys()


def test_answers_name_flags_that_exist() -> None:
    flags = {flag for reply in answers().values() for flag in re.findall(r"--(\w+)", reply)}
    assert len(flags) > 40
    assert flags <= {*CANONICAL, "help"}


def test_a_value_that_says_the_same_is_valid() -> None:
    replies = [reply.removeprefix("here it is ") for reply in answers().values() if reply.startswith("here it is")]
    for reply in replies:
        _, values = parse(parser(), re.sub(r"(--\w+)(?= --|$)", r"\1 1", reply).split())
        assert values.keys() == set(re.findall(r"--(\w+)", reply))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bf16", "true"], "--bf16: here it is --torch_dtype bfloat16"),
        (["--no_packing"], "--no_packing: here it is --packing false"),
        (["--use_weighting", "true"], "--use_weighting: not offered yet for alignment"),
        (["--deepspeed_autotp_size=2"], "--deepspeed_autotp_size: tensor and expert parallelism"),
        (["bf16=true"], "'bf16=true': 'bf16': here it is --torch_dtype bfloat16"),
        (["--frobnicate", "1"], "unknown flag --frobnicate\n"),
    ],
)
def test_answers(words: list[str], expected: str) -> None:
    assert expected in f"{error(*words)}\n"


def test_yaml_is_answered_alike() -> None:
    assert read_overrides(["train.fp16=true"]).problems == [
        "'train.fp16=true': 'train.fp16': here it is --torch_dtype float16"
    ]


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("lora_rnk", "lora_rank"),
        ("lora_arnk", "lora_rank"),
        ("loraa_rank", "lora_rank"),
        ("Lora_Rank", "lora_rank"),
        ("lerning_rate", "learning_rate"),
        ("per_device_trian_batchsize", "per_device_train_batch_size"),
        ("sed", "seed"),
        ("rlhf_tpye", "rlhf_type"),
        ("torch", None),
        ("model_path", None),
        ("deepspeedy", "deepspeed"),
        ("lora", None),
        ("rate", None),
    ],
)
def test_only_near_misses_are_suggested(typed: str, nearest: str | None) -> None:
    assert did_you_mean(typed, CANONICAL) == (f" (did you mean '{nearest}'?)" if nearest else "")


def test_values_are_answered_with_values_that_are_valid(tmp_path: Path) -> None:
    answered = "tuner_type 'qlora': here it is --tuner_type lora --quant_method bnb"
    assert methods.problems(resolve(read_flags({"tuner_type": "qlora"})), tmp_path) == [answered]
    for parameter, value in (("tuner_type", "rslora"), ("optimizer", "adamw_torch"), ("quant_method", "bitsandbytes")):
        reply = value_answer(parameter, value) or ""
        _, values = parse(parser(), reply.removeprefix("here it is ").split())
        assert methods.problems(resolve(read_flags(values)), tmp_path) == []


def test_the_page_of_ms_swifts_flags_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert page.partition(BEGIN)[2] == f"\n{table()}", "type: python -m tests.components.config.swift_table"
    assert all(f"`{name}`" in page or f"`--{name}`" in page for name in SWIFT)
