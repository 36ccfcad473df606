"""GPUs: tokens per second, MFU and peak memory of LoRA on a model with the shapes of Qwen2.5-7B and random weights.

    python benchmarks/gpu.py --peak_tflops 989 [--steps 20] [--batch 4] [--length 2048] [--use_liger_kernel]
    python benchmarks/gpu.py --nproc 8                        the same on one GPU and on eight, DDP
    python benchmarks/gpu.py --nproc 8 --fsdp full_shard      or --deepspeed zero3: the model divided among the eight

bfloat16, LoRA on all linear layers, rows of random tokens that are all learned, Martlet's own trainer. The first five
steps are not measured. MFU is the work that the model needs by the work that the GPU could do in that time: for each
token 4 operations per weight (forward, and backward to the inputs: frozen weights have no gradient), and in attention
6 per layer, per channel and per token of the row (half of the row is seen on average). What gradient checkpointing
computes again is not counted. `--peak_tflops` is the GPU's dense bfloat16 peak: 989 for H100 and H200 (SXM), 312 for
A100. Without a GPU nothing is run.

With `--nproc` the stage `train` runs, as commands start it, with the same rows on each GPU. Scaling efficiency is the
tokens per second of all GPUs by those of one GPU times their number; targets are 90 % for DDP and 80 % for FSDP2.
"""

import argparse
import json
import tempfile
import time
from multiprocessing import get_context
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
    """Return the model on the GPU, if there is one, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    options = {"attn_implementation": attention} if attention else {}
    with torch.accelerator.current_accelerator() or torch.device("cpu"):
        return AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE), dtype=torch.bfloat16, **options)


def random_batch(count: int, length: int) -> Any:
    """Return `count` rows of `length` random tokens, all learned, as a batch of Arrow."""
    import numpy as np

    from components.tokens import Ragged, to_batch

    ids = np.random.default_rng(0).integers(0, SHAPE["vocab_size"], count * length, dtype=np.int32)
    column = Ragged(ids, np.arange(0, len(ids) + 1, length))
    return to_batch("sft", {"input_ids": column, "labels": column}, ["random"] * count, range(count))


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of the training, in groups."""
    train = {
        "max_steps": options.steps, "per_device_train_batch_size": options.batch, "gradient_accumulation_steps": 1,
        "logging_steps": 1, "save_steps": 10**6, "gradient_checkpointing": options.gradient_checkpointing,
        "attn_impl": options.attn_impl, "use_liger_kernel": options.use_liger_kernel,
    }  # fmt: skip
    return {"train": train, "lora": {"lora_rank": options.rank}}


def measure(options: argparse.Namespace) -> tuple[float, int]:
    """Train; return tokens per second after the first steps, and operations per token."""
    from components import models, training
    from components.config import Params
    from components.tokens import TokenRows
    from components.tuners import TUNERS

    params = training.settled(Params.model_validate(settings(options)), 1e-4)
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
            rows=TokenRows(random_batch(options.steps * options.batch, options.length)), val_rows=None,
            checkpoints=folder / "run", save=lora.save, restore=lora.restore, arguments={}, report=report,
        ))  # fmt: skip
    tokens = (len(ends) - WARMUP) * options.batch * options.length
    work = operations_per_token(weights, SHAPE["num_hidden_layers"], SHAPE["hidden_size"], options.length)
    return tokens / (ends[-1] - ends[WARMUP - 1]), work


def rate(options: argparse.Namespace, base: Path, processes: int) -> float:
    """Return the tokens per second of the stage `train` with a number of processes, after the first steps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").symlink_to(base)
        run = get_context("spawn").Process(target=train, args=(options, folder, processes))
        run.start()
        run.join()
        if run.exitcode:
            raise SystemExit(f"the training with {processes} processes failed; its reason is above")
        lines = map(json.loads, (folder / "logs/train/progress.jsonl").read_text().splitlines())
        ends = [line["time"] for line in lines if "loss" in line]
    tokens = (len(ends) - WARMUP) * options.batch * options.length * processes
    return tokens / (ends[-1] - ends[WARMUP - 1])


def train(options: argparse.Namespace, folder: Path, processes: int) -> None:
    """Train the model of `folder`/base with a number of processes, each with `options.batch` rows in a step."""
    from components import models
    from components.config import Params
    from components.files import write_json
    from components.tokens import schema, tokens_writer
    from tasks.stages import methods
    from tasks.stages import train as stage
    from tasks.stages.paths import Paths

    groups = settings(options)
    groups["train"]["gradient_accumulation_steps"] = processes  # divided among them
    division = {"fsdp": options.fsdp, "deepspeed": options.deepspeed} if processes > 1 else {}
    params = Params.model_validate({**groups, "distributed": {"nproc_per_node": processes, **division}})
    paths = Paths(folder, folder)
    paths.tokens.mkdir(parents=True)
    with tokens_writer(paths.tokens / "train.arrow", schema("sft")) as writer:
        writer.write_batch(random_batch(options.steps * options.batch * processes, options.length))
    write_json(paths.model, models.resolve("base", None, use_hf=False, workspace=folder))
    write_json(paths.methods, methods.used(params, folder))
    stage.run(params, paths)


def scaling(options: argparse.Namespace) -> None:
    """Print the tokens per second on one GPU and on several, and the scaling efficiency."""
    from components import models

    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "base"
        random_model(None).save_pretrained(base)
        models.load_tokenizer(write_model(Path(name) / "small")).save_pretrained(base)
        one, several = (rate(options, base, processes) for processes in (1, options.nproc))
    division = options.fsdp or options.deepspeed or "DDP"
    print(f"1 process: {one:,.0f} tokens/s; {options.nproc}, {division}: {several:,.0f} tokens/s")
    print(f"scaling efficiency {several / one / options.nproc:.1%}")


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak_tflops", type=float, help="the GPU's peak in bfloat16, for the MFU")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4, help="rows a step")
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--attn_impl", help="as martlet's flag; by default transformers chooses")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--use_liger_kernel", action="store_true")
    parser.add_argument("--nproc", type=int, default=1, help="GPUs, each with a process of its own")
    parser.add_argument("--fsdp", help="as martlet's flag, with --nproc")
    parser.add_argument("--deepspeed", help="as martlet's flag, with --nproc")
    return parser


def main() -> None:
    """Print what was measured."""
    parser = arguments()
    options = parser.parse_args()
    if options.steps <= WARMUP:
        parser.error(f"--steps {options.steps}: the first {WARMUP} are not measured, so at least {WARMUP + 1}")
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py measures a CUDA GPU, and PyTorch sees none here")
    if options.nproc > 1:
        scaling(options)
        return
    speed, work = measure(options)
    print(
        f"{torch.cuda.get_device_name()}: {speed:,.0f} tokens/s, peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    )
    if options.peak_tflops:
        print(f"MFU {speed * work / options.peak_tflops / 1e12:.1%} of {options.peak_tflops:g} TFLOPS")


if __name__ == "__main__":
    main()
