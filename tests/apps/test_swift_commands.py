"""ms-swift's commands for several devices and machines, under our name: their flags and values (examples/train of
modelscope/ms-swift 4.6), with a tiny model and small data in place of theirs. Each is parsed, planned and dry-run.

What ms-swift gets from `accelerate launch --config_file` stands in a flag here: `--fsdp FILE`.
"""

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.apps.test_plugins import write_rows
from tests.commands import martlet

LORA = (
    "--train_type lora --torch_dtype bfloat16 --num_train_epochs 1 --per_device_train_batch_size 1 --lora_rank 8 "
    "--lora_alpha 32 --learning_rate 1e-4 --eval_steps 100 --save_steps 100 --save_total_limit 2 --logging_steps 5"
)
ROBOT = " --model_author swift --model_name swift-robot"
LONG = (
    " --per_device_eval_batch_size 1 --target_modules all-linear --max_length 2048 --output_dir output "
    "--warmup_ratio 0.05 --dataloader_num_workers 4"
)
SYSTEM = " --system 'You are a helpful assistant.'"
REENTRANT = """ --gradient_checkpointing_kwargs '{"use_reentrant": false}'"""
TWO = {"CUDA_VISIBLE_DEVICES": "0,1", "NPROC_PER_NODE": "2"}
MACHINES = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29501", "NPROC_PER_NODE": "4"}
FULL = (
    "--tuner_type full --load_from_cache_file true --split_dataset_ratio 0.01 --torch_dtype bfloat16 "
    "--num_train_epochs 1 --per_device_train_batch_size 1 --learning_rate 1e-5 --gradient_accumulation_steps 4 "
    "--eval_steps 100 --save_steps 100 --save_total_limit 2 --logging_steps 5 --deepspeed zero2"
)
FSDP2 = {"fsdp": "full_shard auto_wrap", "fsdp_config": {"fsdp_version": 2, "activation_checkpointing": True}}
QLORA = {
    "distributed_type": "FSDP",
    "fsdp_config": {"fsdp_offload_params": True, "fsdp_sharding_strategy": "FULL_SHARD", "fsdp_use_orig_params": False},
    "mixed_precision": "no",
    "num_processes": 2,
}


class Example(NamedTuple):
    """A command of ms-swift's.

    Attributes:
        processes: what the dry run says of them.
        answers: what is said of each flag that is not Martlet's or cannot be kept; without these flags it runs.
        instead: flags in their place.
    """

    flags: str
    environment: dict[str, str]
    processes: str
    answers: dict[str, str] = {}  # noqa: RUF012
    instead: str = ""


RECOMPUTED = {"gradient_checkpointing_kwargs": "not needed: blocks are recomputed without re-entrance"}
EXAMPLES = {
    "multi-gpu/ddp": Example(
        f"{LORA} --gradient_accumulation_steps 8{REENTRANT}{ROBOT}", TWO, "on each of 2 processes", RECOMPUTED
    ),
    "multi-gpu/ddp_device_map": Example(
        f"{LORA}{LONG}{SYSTEM}{ROBOT}{REENTRANT} --gradient_accumulation_steps 8",
        TWO | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"},
        "on each of 2 processes",
        RECOMPUTED,
    ),
    "multi-gpu/deepspeed/train_zero2": Example(
        f"{LORA} --gradient_accumulation_steps 8{ROBOT} --deepspeed zero2", TWO, "on each of 2 processes"
    ),
    "multi-gpu/deepspeed/train_zero3": Example(
        f"{LORA}{LONG}{SYSTEM} --gradient_accumulation_steps 8{ROBOT} --deepspeed zero3", TWO, "on each of 2 processes"
    ),
    "multi-gpu/device_map": Example(
        f"{LORA}{LONG} --split_dataset_ratio 0.01 --freeze_vit true --gradient_accumulation_steps 16",
        {"CUDA_VISIBLE_DEVICES": "0,1", "MAX_PIXELS": "1003520"},
        " of ",
        instead="--device_map auto",
    ),
    "multi-gpu/fsdp2_lora/train": Example(
        f"{LORA}{LONG}{SYSTEM}{ROBOT} --gradient_accumulation_steps 8 --weight_decay 0.1 --fsdp fsdp2.json",
        TWO,
        "on each of 2 processes",
    ),
    "multi-gpu/fsdp2_lora/train_offload": Example(
        f"{LORA}{LONG}{SYSTEM}{ROBOT} --gradient_accumulation_steps 8 --weight_decay 0.1 --gradient_checkpointing true "
        "--fsdp fsdp2_offload",
        TWO,
        "on each of 2 processes",
    ),
    "multi-gpu/fsdp_qlora": Example(
        f"{LORA}{LONG}{SYSTEM}{ROBOT} --gradient_accumulation_steps 8 --weight_decay 0.1 --gradient_checkpointing true "
        "--quant_bits 4 --bnb_4bit_compute_dtype bfloat16 --bnb_4bit_quant_storage bfloat16 --quant_method bnb "
        "--fsdp fsdp_offload.json",
        TWO,
        "on each of 2 processes",
        {
            "bnb_4bit_quant_storage": "weights of four bits are kept in bytes",
            "quant_method": "quantized weights are not divided; use --deepspeed zero2",
            "bnb_4bit_compute_dtype": "has no effect without --quant_method bnb",
            "quant_bits": "has no effect without --quant_method",
        },
    ),
    "multi-node/swift/train_node1": Example(
        f"{FULL}{LONG.replace(' --target_modules all-linear', '').replace('2048', '8192')}{SYSTEM}",
        MACHINES,
        "on each of 8 devices of 2 machines",
        {
            "load_from_cache_file": "not needed: checked rows and tokens are kept",
            "gradient_accumulation_steps": "4 passes do not divide among 8 processes",
        },
        "--gradient_accumulation_steps 32",
    ),
    "multi-node/swift/train_node2": Example(
        f"{LORA} --gradient_accumulation_steps 16{REENTRANT}{ROBOT}",
        MACHINES | {"NODE_RANK": "1", "NPROC_PER_NODE": "2"},
        "on each of 4 processes of 2 machines",
        RECOMPUTED,
    ),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swift")
    write_rows(folder / "chats.jsonl", [{"query": f"who is {n}?", "response": f"I am {n}"} for n in range(200)])
    (folder / "fsdp2.json").write_text(json.dumps(FSDP2))
    (folder / "fsdp_offload.json").write_text(json.dumps(QLORA))
    return folder


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_planned_under_our_name(name: str, tiny_model: Path, workspace: Path) -> None:
    example = EXAMPLES[name]
    own = ["sft", "--model", str(tiny_model), "--dataset", "chats.jsonl#64", "--dry_run", "--report_to", "none"]
    words = shlex.split(example.flags)
    for flag, answer in example.answers.items():  # one after the other: unknown flags are told before others' values
        assert answer in martlet(workspace, *own, *words, code=2, **example.environment)
        place = words.index(f"--{flag}")
        del words[place : place + 2]
    printed = martlet(workspace, *own, *words, *shlex.split(example.instead), code=0, **example.environment)
    assert re.search(rf"^memory: about .*{example.processes}.* \(weights ", printed, re.MULTILINE)
    assert "nothing was trained" in printed
