"""Parameters of several processes that exclude each other are told before anything runs, all at once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.config import read_flags, resolve
from tasks import distributed, preflight


def conflicts(root: Path = Path(), **flags: Any) -> list[str]:
    return distributed.conflicts(resolve(read_flags({"nproc_per_node": 2, **flags})), [], root)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"deepspeed": "zero2", "fsdp": "full_shard"}, "deepspeed: --fsdp divides the model, too"),
        ({"deepspeed": "zero4"}, "deepspeed: there is no 'zero4'"),
        ({"device_map": "auto"}, "device_map: it lays one model on several devices, and each of the 2 processes"),
        (
            {"device_map": "auto", "nproc_per_node": 1, "deepspeed": "zero3"},
            "device_map: --deepspeed divides the model",
        ),
        ({"device_map": "atuo", "nproc_per_node": 1}, r"device_map: there is no 'atuo' \(did you mean 'auto'\?\)"),
        ({"device_map": "{model: 0}", "nproc_per_node": 1}, "device_map: '{model: 0}' is not JSON"),
        ({"max_memory": {"0": "20GiB"}}, "max_memory: .*; add --device_map auto"),
        ({"nproc_per_node": 1, "fsdp": "full_shard"}, "fsdp: one process has nobody to divide the model with"),
        ({"deepspeed": "zero3", "init_weights": "pissa"}, "init_weights: pissa needs whole weights"),
        ({"fsdp": "full_shard", "modules_to_save": ["lm_head"]}, "modules_to_save: copies of divided layers"),
        ({"fsdp": "full_shard", "predict_with_generate": True}, "predict_with_generate: answers are not written"),
        ({"deepspeed": "zero3", "quant_method": "bnb"}, "quant_method: quantized weights are not divided"),
        ({"deepspeed": "zero3", "task_type": "seq_cls"}, "task_type: seq_cls trains with whole weights"),
        (
            {"fsdp": {"fsdp_config": {"activation_checkpointing": True}}, "gradient_checkpointing": False},
            "fsdp: activation_checkpointing is true",
        ),
        ({"deepspeed": "zero3", "tuner_type": "llamapro"}, "tuner_type: llamapro needs the whole weights"),
        ({"fsdp": "full_shard", "tuner_type": "llamapro"}, "tuner_type: llamapro needs the whole weights"),
        (
            {"sequence_parallel_size": 2, "packing": True},
            "sequence_parallel_size: a divided row stands alone on its line; leave --packing out",
        ),
        (
            {"sequence_parallel_size": 2, "padding_free": True},
            "sequence_parallel_size: a divided row .* --padding_free out",
        ),
        (
            {"sequence_parallel_size": 2, "streaming": True, "max_steps": 5},
            "sequence_parallel_size: .* --streaming out",
        ),
        (
            {"sequence_parallel_size": 2, "neftune_noise_alpha": 5},
            "sequence_parallel_size: its noise .* --neftune_noise_alpha",
        ),
        ({"sequence_parallel_size": 2, "torch_compile": True}, "sequence_parallel_size: .* --torch_compile out"),
        ({"sequence_parallel_size": 2, "predict_with_generate": True}, "sequence_parallel_size: answers are written"),
        (
            {"sequence_parallel_size": 2, "attn_impl": "eager"},
            "sequence_parallel_size: rows are divided for sdpa and flash_attention_2; leave --attn_impl eager out",
        ),
        (
            {"sequence_parallel_size": 2, "task_type": "seq_cls"},
            "sequence_parallel_size: sft and pt divide rows, and seq_cls takes them whole",
        ),
        (
            {"sequence_parallel_size": 2, "tuner_type": "prefix_tuning"},
            "sequence_parallel_size: prefix_tuning puts learned tokens before each row",
        ),
        ({"deepspeed": "zero1", "tuner_type": "full", "optimizer": "muon"}, "optimizer: muon needs whole weights"),
        ({"fsdp": "full_shard", "tuner_type": "full", "optimizer": "muon"}, "optimizer: muon needs whole weights"),
    ],
)
def test_a_contradiction_is_one_sentence(flags: dict[str, Any], sentence: str) -> None:
    [conflict] = conflicts(**flags)
    assert re.match(sentence, conflict)


def test_what_goes_together_is_left_alone() -> None:
    fitting: tuple[dict[str, Any], ...] = (
        {},
        {"nproc_per_node": 1, "device_map": "balanced", "max_memory": {"0": "20GiB", "cpu": "64GiB"}},
        {"nproc_per_node": 1, "device_map": {"model": 0, "lm_head": 1}},
        {"deepspeed": "zero2", "tuner_type": "llamapro"},
        {"deepspeed": "zero3_offload", "tuner_type": "full", "load_best_model_at_end": True, "eval_steps": 500},
        {"fsdp": "full_shard offload", "optimizer": "muon"},
    )
    for flags in fitting:
        assert conflicts(**flags) == []


ZERO: dict[str, Any] = {"zero_optimization": {"stage": 2}}


def test_every_setting_of_a_file_that_says_otherwise_is_named(tmp_path: Path) -> None:
    settings = {
        **ZERO,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 16,
        "train_batch_size": 64,
        "gradient_clipping": 0.5,
        "bf16": {"enabled": False},
        "fp16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}},
        "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
    }
    (tmp_path / "ds.json").write_text(json.dumps(settings))
    flags = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 16, "torch_dtype": "bfloat16"}
    sentences = conflicts(tmp_path, deepspeed="ds.json", **flags)
    assert sentences == [
        *(
            f'deepspeed: {text}; write "auto" there'
            for text in (
                "train_micro_batch_size_per_gpu is 4 in its settings, and --per_device_train_batch_size is 2",
                "gradient_clipping is 0.5 in its settings, and --max_grad_norm is 1",
                "gradient_accumulation_steps is 16 in its settings, and --gradient_accumulation_steps makes 8 for each "
                "process",
                "train_batch_size is 64 in its settings, and --per_device_train_batch_size times "
                "--gradient_accumulation_steps is 32",
                "bf16.enabled is false in its settings, and the weights are in bfloat16 (--torch_dtype)",
                "fp16.enabled is true in its settings, and the weights are in bfloat16 (--torch_dtype)",
            )
        ),
        *(
            f"deepspeed: the section {section} of its settings has values of its own; leave it out: --{parameter} and "
            "its parameters say them"
            for section, parameter in (("optimizer", "optimizer"), ("scheduler", "lr_scheduler_type"))
        ),
    ]


def test_settings_that_say_the_same_or_auto_are_left_alone() -> None:
    same = {
        **ZERO,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 8,
        "train_batch_size": "auto",
        "gradient_clipping": 1.0,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": False, "loss_scale": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto"}},
        "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": "auto"}},
    }
    flags: dict[str, Any] = {
        "lr_scheduler_type": "linear",
        "gradient_accumulation_steps": 16,
        "per_device_train_batch_size": 1,
    }
    assert conflicts(deepspeed=same, **flags) == []


def test_all_contradictions_are_told_together(tmp_path: Path) -> None:
    settings = {**ZERO, "train_micro_batch_size_per_gpu": 4}
    flags = {"nproc_per_node": 3, "gradient_accumulation_steps": 16, "device_map": "auto", "deepspeed": settings}
    sentences = preflight.conflicts(resolve(read_flags(flags)), tmp_path)
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        *["device_map"] * 2,
        "deepspeed",
        "gradient_accumulation_steps",
    ]


def test_a_package_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "find_spec", lambda _: None)
    assert conflicts(deepspeed="zero2") == ["deepspeed: the package is missing: pip install 'martlet[deepspeed]'"]
    assert conflicts(fsdp="full_shard") == []
