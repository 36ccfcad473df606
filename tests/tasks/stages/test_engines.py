"""DeepSpeed and FSDP2 on two processes of a CPU: the losses of one process, resume, and whose checkpoints they read."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import sha256
from components.training import engine_of
from tests.tasks.stages.test_workers import figures, run

FLAGS: dict[str, Any] = {"max_steps": 12, "save_steps": 6}
FULL = {"tuner_type": "full"}
TWO = {"nproc_per_node": 2}


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied model with a number of tokens that two and four processes can divide."""
    folder = tmp_path_factory.mktemp("even")
    config = Qwen3Config.from_pretrained(tiny_model)
    config.vocab_size += -config.vocab_size % 4
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    """The lines of progress of one process, by tuner."""
    root = tmp_path_factory.mktemp("alone")
    return {tuner: run(root / tuner, base, **FLAGS, tuner_type=tuner) for tuner in ("lora", "full")}


def slow(engine: dict[str, str], tuner: str) -> Any:
    return pytest.param(engine, tuner, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("engine", "tuner"),
    [
        slow({"deepspeed": "zero3"}, "full"),
        ({"fsdp": "full_shard"}, "full"),
        slow({"deepspeed": "zero1"}, "full"),
        slow({"deepspeed": "zero2"}, "full"),
        slow({"deepspeed": "zero2"}, "lora"),
        slow({"deepspeed": "zero2_offload"}, "full"),
        slow({"deepspeed": "zero3"}, "lora"),
        slow({"deepspeed": "zero3_offload"}, "full"),
        slow({"fsdp": "full_shard"}, "lora"),
        slow({"fsdp": "shard_grad_op"}, "full"),
        slow({"fsdp": "full_shard", "sequence_parallel_size": "2"}, "full"),
        slow({"deepspeed": "zero3", "sequence_parallel_size": "2"}, "full"),
        slow({"deepspeed": "zero2", "sequence_parallel_size": "2"}, "lora"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values())),
)
def test_two_processes_that_divide_a_model_learn_as_one_and_go_on_to_the_same_weights(
    base: Path, alone: dict[str, list[dict[str, float]]], tmp_path: Path, engine: dict[str, str], tuner: str
) -> None:
    flags = {**FLAGS, **TWO, **engine, "tuner_type": tuner}
    lines = run(tmp_path, base, **flags)
    for name in ("loss", "eval_loss", "eval_a_loss"):
        assert figures(lines, name) == pytest.approx(figures(alone[tuner], name), abs=1e-5), name
    assert figures(lines, "grad_norm") == pytest.approx(figures(alone[tuner], "grad_norm"), abs=1e-4)

    file = next((tmp_path / "models/adapter").glob("*model.safetensors"))
    weights = load_file(file)
    shutil.rmtree(tmp_path / "checkpoints/checkpoint-12")
    shutil.rmtree(tmp_path / "models")
    lines = run(tmp_path, base, **flags)
    assert any("going on from checkpoint-6" in str(line.get("message")) for line in lines)
    again = load_file(file)
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.slow  # six processes, one after the other
def test_four_processes_go_on_from_a_checkpoint_of_two(
    base: Path, alone: dict[str, list[dict[str, float]]], tmp_path: Path
) -> None:
    flags = {**FLAGS, **FULL, "fsdp": "full_shard"}
    run(tmp_path, base, **flags, **TWO)
    shutil.rmtree(tmp_path / "checkpoints/checkpoint-12")
    shutil.rmtree(tmp_path / "models")
    checkpoint = tmp_path / "checkpoints/checkpoint-6"
    lines = run(tmp_path, base, **flags, nproc_per_node=4, resume_from_checkpoint=str(checkpoint))
    assert figures(lines, "loss")[-6:] == pytest.approx(figures(alone["full"], "loss")[-6:], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "tuner"),
    [
        ({"deepspeed": "zero3"}, "lora"),
        ({"deepspeed": "zero3"}, "full"),
        ({"fsdp": "full_shard"}, "lora"),
        ({"fsdp": "full_shard"}, "full"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values())),
)
def test_the_best_weights_are_read_back(base: Path, tmp_path: Path, engine: dict[str, str], tuner: str) -> None:
    flags = {**FLAGS, **TWO, **engine, "load_best_model_at_end": True, "save_steps": 2}
    lines = run(tmp_path, base, **flags, tuner_type=tuner)
    losses = dict(zip(range(2, 13, 2), figures(lines, "eval_loss"), strict=True))
    best = min(losses, key=lambda step: losses[step])
    assert best < 12
    name = "model.safetensors" if tuner == "full" else "adapter_model.safetensors"
    result, kept = (load_file(tmp_path / at / name) for at in ("models/adapter", f"checkpoints/checkpoint-{best}"))
    assert all(torch.equal(result[key], kept[key]) for key in kept)


def checkpoint(root: Path, *, optimizer: str, **arguments: object) -> Path:
    """Turn the newest checkpoint of a run into that of another engine, as far as its names say."""
    folder = root / "checkpoints/checkpoint-12"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name.replace("optimizer.pt", optimizer): entry for name, entry in manifest["files"].items()}
    (folder / optimizer).parent.mkdir(exist_ok=True)
    (folder / "optimizer.pt").rename(folder / optimizer)
    args = json.loads((folder / "args.json").read_text())
    args["distributed"] |= arguments
    text = json.dumps(args)
    (folder / "args.json").write_text(text)
    manifest["files"]["args.json"]["size"] = len(text.encode())
    manifest["files"]["args.json"]["sha256"] = sha256(folder / "args.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("optimizer", "written", "flags", "message"),
    [
        ("global_step12/states.pt", {"deepspeed": "zero2", "nproc_per_node": 2}, {},
         r"with --deepspeed zero2 in 2 processes and cannot be read without --deepspeed and --fsdp"),
        ("global_step12/states.pt", {"deepspeed": "zero2", "nproc_per_node": 2}, {"deepspeed": "zero3", **TWO},
         r"zero2 in 2 processes and cannot be read with --deepspeed zero3 in 2 processes"),
        ("global_step12/states.pt", {"deepspeed": "zero2", "nproc_per_node": 4}, {"deepspeed": "zero2", **TWO},
         r"zero2 in 4 processes and cannot be read with --deepspeed zero2 in 2 processes"),
        ("optimizer/shard.safetensors", {"fsdp": "full_shard", "nproc_per_node": 2}, {},
         r"with --fsdp full_shard in 2 processes and cannot be read without"),
        ("optimizer.pt", {}, {"fsdp": "full_shard", **TWO}, r"written without --deepspeed and --fsdp and cannot be"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_engine_is_refused_before_a_process_is_started(
    base: Path, tmp_path: Path, optimizer: str, written: dict[str, object], flags: dict[str, Any], message: str
) -> None:
    run(tmp_path, base, max_steps=12, save_steps=12, **FULL)
    folder = checkpoint(tmp_path, optimizer=optimizer, **written)
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, base, **FULL, max_steps=14, save_steps=12, resume_from_checkpoint=str(folder), **flags)
    assert not list(tmp_path.rglob("job.json"))


def test_fsdp_offloads_nothing_where_there_is_no_accelerator(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^fsdp: offload moves weights off an accelerator, and there is none here"):
        run(tmp_path, base, fsdp="full_shard offload", **TWO)


def test_fsdp_refuses_a_tied_embedding_that_it_would_divide_unevenly(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"its 301 rows do not divide among 2 processes; .* --deepspeed zero3"):
        run(tmp_path, tiny_model, fsdp="full_shard", **TWO, **FULL)


@pytest.mark.parametrize(
    "placed", [{"device_map": '{"": "cpu"}'}, {"device_map": "auto", "max_memory": {"cpu": "1GB"}}]
)
def test_a_device_map_lays_the_model_where_it_says(
    base: Path, alone: dict[str, list[dict[str, float]]], tmp_path: Path, placed: dict[str, Any]
) -> None:
    lines = run(tmp_path, base, **FLAGS, tuner_type="lora", **placed)
    assert figures(lines, "loss") == pytest.approx(figures(alone["lora"], "loss"), abs=1e-5)


def test_unused_weights_are_looked_for_where_layers_freeze_or_a_flag_says() -> None:
    def is_set(**flags: Any) -> bool:
        params = resolve(read_flags(flags))
        job: Any = SimpleNamespace(params=params, train=params.train)
        return engine_of(params).arguments(job)["ddp_find_unused_parameters"]

    assert not is_set()
    assert is_set(callbacks=["lisa"])
    assert is_set(ddp_find_unused_parameters=True)
    assert not is_set(callbacks=["lisa"], ddp_find_unused_parameters=False)
