"""One GPU: tokens per second, MFU and peak memory of LoRA on a model with the shapes of Qwen2.5-7B and random weights.

    python benchmarks/gpu.py --peak_tflops 989 [--steps 20] [--batch 4] [--length 2048] [--attn_impl flash_attention_2]

bfloat16, LoRA on all linear layers, rows of random tokens that are all learned, Martlet's own trainer. The first five
steps are not measured. MFU is the work that the model needs by the work that the GPU could do in that time: for each
token 4 operations per weight (forward, and backward to the inputs: frozen weights have no gradient), and in attention
6 per layer, per channel and per token of the row (half of the row is seen on average). What gradient checkpointing
computes again is not counted. `--peak_tflops` is the GPU's dense bfloat16 peak: 989 for H100 and H200 (SXM), 312 for
A100. Without a GPU nothing is run.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from data import write_model

SHAPE = {
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
WARMUP = 5


def operations_per_token(weights: int, layers: int, width: int, length: int) -> int:
    """Return the floating-point operations that a token of a row of `length` needs; `weights` are those of matrices."""
    return 4 * weights + 6 * layers * width * length


def random_model(attention: str | None) -> Any:
    """Return the model on the GPU, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    options = {"attn_implementation": attention} if attention else {}
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE), dtype=torch.bfloat16, **options)


def random_rows(count: int, length: int) -> Any:
    """Return `count` rows of `length` random tokens, all learned."""
    import numpy as np

    from components.tokens import Ragged, TokenRows, to_batch

    ids = np.random.default_rng(0).integers(0, SHAPE["vocab_size"], count * length, dtype=np.int32)
    column = Ragged(ids, np.arange(0, len(ids) + 1, length))
    return TokenRows(to_batch("sft", {"input_ids": column, "labels": column}, ["random"] * count, range(count)))


def measure(options: argparse.Namespace) -> tuple[float, int]:
    """Train; return tokens per second after the first steps, and operations per token."""
    from components import models, training
    from components.config import Params
    from components.tuners import TUNERS

    train = {
        "max_steps": options.steps, "per_device_train_batch_size": options.batch, "gradient_accumulation_steps": 1,
        "logging_steps": 1, "save_steps": 10**6, "gradient_checkpointing": options.gradient_checkpointing,
    }  # fmt: skip
    params = training.settled(Params.model_validate({"train": train, "lora": {"lora_rank": options.rank}}), 1e-4)
    plain = random_model(options.attn_impl)
    weights = plain.num_parameters() - plain.get_input_embeddings().weight.numel()
    lora, ends = TUNERS.load("lora"), []

    def report(line: dict[str, Any]) -> None:
        if "loss" in line:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training.train(training.Job(
            params=params, model=lora.wrap(plain, params, 0), tokenizer=models.load_tokenizer(write_model(folder)),
            rows=random_rows(options.steps * options.batch, options.length), val_rows=None, checkpoints=folder / "run",
            save=lora.save, restore=lora.restore, arguments={}, report=report,
        ))  # fmt: skip
    tokens = (len(ends) - WARMUP) * options.batch * options.length
    work = operations_per_token(weights, SHAPE["num_hidden_layers"], SHAPE["hidden_size"], options.length)
    return tokens / (ends[-1] - ends[WARMUP - 1]), work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak_tflops", type=float, help="the GPU's peak in bfloat16, for the MFU")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4, help="rows a step")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--attn_impl", help="as martlet's flag; by default transformers chooses")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    options = parser.parse_args()
    if options.steps <= WARMUP:
        parser.error(f"--steps {options.steps}: the first {WARMUP} are not measured, so at least {WARMUP + 1}")
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py measures a CUDA GPU, and PyTorch sees none here")
    rate, work = measure(options)
    print(
        f"{torch.cuda.get_device_name()}: {rate:,.0f} tokens/s, peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    )
    if options.peak_tflops:
        print(f"MFU {rate * work / options.peak_tflops / 1e12:.1%} of {options.peak_tflops:g} TFLOPS")


if __name__ == "__main__":
    main()
