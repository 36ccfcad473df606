"""The estimated memory of each device, over sizes of models and ways to divide them: the table of docs/distributed.md.

    python -m benchmarks.distributed_memory

Models have the shapes of Qwen3-0.6B, Qwen2.5-7B and Qwen2.5-72B, in bfloat16, and no weights. A device takes one row of
2,048 tokens at a time, of which half are learned, and recomputes activations.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.training.estimate import Batch, Memory

BATCH = Batch(1, 2048, 1024)
DEVICES = 8
SHAPES: dict[str, dict[str, Any]] = {
    "0.6B": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "tie_word_embeddings": True,
    },
    "7B": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False,
    },
    "72B": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "one device": {"nproc_per_node": 1},
    "8, DDP": {},
    "`zero2`": {"deepspeed": "zero2"},
    "`zero3`": {"deepspeed": "zero3"},
    "`full_shard`": {"fsdp": "full_shard"},
    "`zero3_offload`": {"deepspeed": "zero3_offload"},
    "`full_shard offload`": {"fsdp": "full_shard offload"},
}
"""Head of a column to parameters of `distributed`."""


def need(shape: str, tuner: str, **distributed: Any) -> Memory:
    """Return what training a model of `shape` takes, on eight devices unless the parameters say otherwise."""
    import json

    from components import models, tuners
    from components.config import Params
    from components.training import settled
    from components.training.estimate import memory

    groups = {"tuner": {"tuner_type": tuner}, "distributed": {"nproc_per_node": DEVICES, **distributed}}
    params = settled(Params.model_validate({"train": {"per_device_train_batch_size": 1}, **groups}), 1e-4)
    with TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(SHAPES[shape]))
        model = models.skeleton(Path(folder), "bfloat16", "sdpa")
    wrapped = tuners.TUNERS.load(tuner).wrap(model, params, 0).to("meta")
    return memory(wrapped, params, BATCH, accelerated=True)


def cell(shape: str, tuner: str, way: str) -> str:
    """Return GB of each device, and of each machine what is offloaded to its memory."""
    memory = need(shape, tuner, **WAYS[way])
    places = [memory.peak, DEVICES * memory.offloaded]
    return " + ".join(f"{size / 1e9:,.{1 if size < 1e10 else 0}f}" for size in places if size)


def table() -> Iterator[str]:
    """Return the lines of the table."""
    yield f"| model, what is trained | {' | '.join(WAYS)} |"
    yield "|---" * (len(WAYS) + 1) + "|"
    for shape in SHAPES:
        for tuner in ("lora", "full"):
            cells = [cell(shape, tuner, way) for way in WAYS]
            yield f"| {shape}, {'all weights' if tuner == 'full' else 'LoRA'} | {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in table():
        print(line, flush=True)
