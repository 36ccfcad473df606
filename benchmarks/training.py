"""Training: speed, start, wall time and memory of LoRA SFT in `martlet sft`, ms-swift and bare TRL, on the same rows.

    python benchmarks/training.py --swift /envs/swift --trl /envs/trl [--model m100] [--steps 60] [--length 512]

LoRA of rank 8 on all linear layers, fp32 on the CPU, 8 rows a step, no dropout, no gradient checkpointing. The model
(`tiny`: 5.2M parameters, `m100`: 89M) is a Qwen3 with random weights; rows are generated (see data.py), unless
--dataset names a file of alpaca rows; with --length every row has that many tokens. Each tool runs in its own process
and its own folder, without caches; rounds alternate, so that a change in the machine's speed affects all. A ratio is
the median over rounds of Martlet's figure by the other tool's in the same round.

- tokens/s: tokens without padding of the steps after the first --warmup, over the seconds between the ends of steps,
  which are in Martlet's progress.jsonl and are logged by a callback in the other tools;
- first step: seconds from the start of the command to the end of the first step;
- whole command: seconds to its end. Martlet then has also written and checked a checkpoint, an adapter and reports;
- peak: resident memory of the command's process.

All tools train on the same 8 rows in each step, which the loss of the first step shows: the loss is equal in ms-swift
and TRL, and nearly equal in Martlet, which does not learn the newline that the template puts after an answer.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from data import rows as made_up_rows
from data import write_model

BATCH = 8
SEED = 42
"""Seed of the row order in transformers' Trainer, the default of Martlet and of TRL."""
SHAPES = {
    "tiny": {"hidden_size": 256, "intermediate_size": 672, "num_hidden_layers": 4, "num_attention_heads": 4},
    "m100": {"hidden_size": 768, "intermediate_size": 1968, "num_hidden_layers": 12, "num_attention_heads": 12},
}
WAYS = {"martlet": [], "padding free": ["--padding_free", "true"], "padded": ["--padding_free", "false"]}

CALLBACK = """
import json, time
from transformers import TrainerCallback

class Steps(TrainerCallback):
    def __init__(self, *_):
        self.file = open("steps.jsonl", "w", buffering=1)

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.file.write(json.dumps({"step": state.global_step, "time": time.time(), "loss": logs["loss"]}) + "\\n")
"""
SWIFT = CALLBACK + "\nfrom swift.callbacks import callbacks_map\ncallbacks_map['steps'] = Steps\n"
TRL = (
    CALLBACK
    + """
import sys
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

model, data, steps = sys.argv[1:]
config = SFTConfig(output_dir="out", max_steps=int(steps), per_device_train_batch_size=8, learning_rate=1e-4,
                   report_to="none", max_length=512, use_cpu=True, bf16=False, gradient_checkpointing=False,
                   logging_steps=1, save_strategy="no", model_init_kwargs={"dtype": "float32"})
lora = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
rows = load_dataset("json", data_files=data, split="train")
SFTTrainer(model, config, train_dataset=rows, peft_config=lora, callbacks=[Steps()]).train()
"""
)


def prepare(folder: Path, shape: str, steps: int, dataset: Path | None, length: int | None) -> list[int]:
    """Write the model, and the rows for each tool; return the number of tokens in each step.

    ms-swift reads its rows in the order of their file, so its file has the order of the Trainer's sampler.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(write_model(folder / "model"))
    if dataset:
        source = [json.loads(line) for line in dataset.read_text(encoding="utf-8").splitlines()]
        texts = [text for row in source for text in (row["instruction"], row["output"])]
        tokenizer = tokenizer.train_new_from_iterator(texts, 8192)
        tokenizer.save_pretrained(folder / "model")
    else:
        source = list(made_up_rows(steps * BATCH))
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=8192, head_dim=64, num_key_value_heads=SHAPES[shape]["num_attention_heads"],
        tie_word_embeddings=True, max_position_embeddings=2048, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, **SHAPES[shape],
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    print(f"{shape}: {model.num_parameters() / 1e6:.1f}M parameters", flush=True)
    model.save_pretrained(folder / "model")
    count = steps * BATCH
    chats = chats_of_length(tokenizer, count, length) if length else [chat(row) for row in source[:count]]
    order = torch.randperm(len(chats), generator=torch.Generator().manual_seed(SEED)).tolist()
    in_order = [chats[i] for i in order]
    write_lines(folder / "martlet.jsonl", [{"messages": messages} for messages in chats])
    write_lines(folder / "trl.jsonl", [{"prompt": messages[:1], "completion": messages[1:]} for messages in chats])
    write_lines(folder / "swift.jsonl", [{"messages": messages} for messages in in_order])
    lengths = [len(tokenizer.apply_chat_template(messages, return_dict=False)) for messages in in_order]
    return [sum(lengths[at : at + BATCH]) for at in range(0, len(lengths), BATCH)]


def chat(row: dict[str, str]) -> list[dict[str, str]]:
    question = f"{row['instruction']}\n{row['input']}" if row.get("input") else row["instruction"]
    return [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]


def chats_of_length(tokenizer: Any, count: int, length: int) -> list[list[dict[str, str]]]:
    """Return chats of `length` tokens, a third of them the question, in words that are one token each."""
    words = sorted(token[1:] for token in tokenizer.get_vocab() if token[0] == "\u0120" and token[1:].isalpha())
    choice = random.Random(SEED)

    def cut(answer: list[str], question: str) -> list[dict[str, str]]:
        messages = chat({"instruction": question, "output": " ".join(answer)})
        surplus = len(tokenizer.apply_chat_template(messages, return_dict=False)) - length
        return cut(answer[:-surplus], question) if surplus else messages

    return [cut(choice.choices(words, k=length), " ".join(choice.choices(words, k=length // 3))) for _ in range(count)]


def write_lines(file: Path, lines: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def commands(folder: Path, steps: int, ways: list[str], swift: Path | None, trl: Path | None) -> dict[str, list[str]]:
    """Return the command line of each tool."""
    model = str(folder / "model")
    common = (
        f"--model {model} --max_steps {steps} --per_device_train_batch_size {BATCH} --gradient_accumulation_steps 1 "
        "--learning_rate 1e-4 --lora_rank 8 --lora_alpha 32 --lora_dropout 0 --target_modules all-linear "
        "--max_length 512 --torch_dtype float32 --logging_steps 1 --output_dir out --add_version false "
        "--dataset_shuffle false --split_dataset_ratio 0"
    ).split()
    martlet = [str(Path(sys.executable).parent / "martlet"), "sft", *common, "--dataset", str(folder / "martlet.jsonl")]
    lines = {name: [*martlet, "--report_to", "none", *flags] for name, flags in WAYS.items() if name in ways}
    if swift:
        (folder / "steps.py").write_text(SWIFT)
        lines["ms-swift"] = [
            str(swift / "bin/swift"), "sft", *common, "--dataset", str(folder / "swift.jsonl"),
            "--model_type", "qwen3", "--template", "qwen3_nothinking", "--check_model", "false",
            "--train_dataloader_shuffle", "false", "--gradient_checkpointing", "false", "--save_strategy", "no",
            "--external_plugins", str(folder / "steps.py"), "--callbacks", "steps",
        ]  # fmt: skip
    if trl:
        (folder / "bare.py").write_text(TRL)
        lines["trl"] = [str(trl / "bin/python"), str(folder / "bare.py"), model, str(folder / "trl.jsonl"), str(steps)]
    return lines


def measure(command: list[str], folder: Path, tokens: list[int], warmup: int, threads: int | None) -> dict[str, float]:
    """Run a tool in its own folder; return tokens per second, the first loss, seconds to the first step and to the end,
    and peak memory in MB."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    run = Path(tempfile.mkdtemp(dir=folder))
    env |= {"MARTLET_CACHE": str(run / "cache"), "HF_DATASETS_CACHE": str(run / "hf")}
    began = time.time()
    with (run / "output.txt").open("w+") as output:
        process = subprocess.Popen(command, cwd=run, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.time() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{output.read()[-3000:]}")
    log = next((file for file in run.rglob("progress.jsonl") if file.parent.name == "train"), run / "steps.jsonl")
    lines = [line for line in map(json.loads, log.read_text().splitlines()) if "loss" in line]
    if [line["step"] for line in lines] != list(range(1, len(tokens) + 1)):
        raise SystemExit(f"{log}: not one line for each of {len(tokens)} steps")
    return {
        "rate": sum(tokens[warmup:]) / (lines[-1]["time"] - lines[warmup - 1]["time"]),
        "first": lines[0]["time"] - began,
        "wall": wall,
        "peak": usage.ru_maxrss / 1024,
        "loss": lines[0]["loss"],
    }


COLUMNS = {"rate": "tokens/s", "first": "first step s", "wall": "whole command s", "peak": "peak MB"}


def report(results: dict[str, list[dict[str, float]]], rate: str = COLUMNS["rate"]) -> None:
    """Print the median of each figure for each tool, its spread, and the ratio of Martlet's figure to the tool's."""
    ours = results["martlet"]
    titles = {**COLUMNS, "rate": rate}.values()
    print(f"\n{'':<13}" + "".join(f"{title:>32}" for title in titles) + f"{'first loss':>13}")
    for tool, runs in results.items():
        cells = []
        for name in COLUMNS:
            values = [run[name] for run in runs]
            ratio = statistics.median(a[name] / b[name] for a, b in zip(ours, runs, strict=True))
            digits = ",.1f" if statistics.median(values) < 1000 else ",.0f"
            low, middle, high = (
                format(value, digits) for value in (min(values), statistics.median(values), max(values))
            )
            cells.append(f"{middle} ({low}-{high}) {ratio:5.2f} x")
        print(f"{tool:<13}" + "".join(f"{cell:>32}" for cell in cells) + f"{runs[0]['loss']:13.4f}")
    print("N x: Martlet's figure by the tool's of the same round, the median over rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swift", type=Path, help="environment (a folder) with ms-swift")
    parser.add_argument("--trl", type=Path, help="environment with trl")
    parser.add_argument("--model", choices=SHAPES, default="tiny")
    parser.add_argument("--dataset", type=Path, help="JSON lines with instruction, input and output")
    parser.add_argument("--length", type=int, help="tokens of every row; by default rows differ in length")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS)[1:], default=[], help="Martlet's, beside its default")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=2, help="first steps that are not measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, choices=(1, 2), help="of every tool; by default each tool's own choice")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process: the peak memory of a child starts at that of its parent.
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            tokens = other.submit(
                prepare, folder, options.model, options.steps, options.dataset, options.length
            ).result()
        print(f"{options.steps} steps of {sum(tokens) / options.steps:,.0f} tokens", flush=True)
        tools = commands(folder, options.steps, ["martlet", *options.ways], options.swift, options.trl)
        results: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
        for number in range(options.rounds):
            for tool, command in tools.items():
                results[tool].append(measure(command, folder, tokens, options.warmup, options.threads))
                print(f"round {number + 1}  {tool:<13} {results[tool][-1]['rate']:9,.0f} tokens/s", flush=True)
    report(results)


if __name__ == "__main__":
    main()
