"""Alignment: samples per second and memory of DPO and GRPO in `martlet rlhf`, ms-swift and bare TRL, on the same rows.

    python benchmarks/alignment.py dpo --swift /envs/swift --trl /envs/trl [--model m100] [--steps 10]
    python benchmarks/alignment.py grpo --swift /envs/swift --trl /envs/trl

LoRA of rank 8 on all linear layers, fp32 on the CPU, no dropout, no gradient checkpointing; the models are those of
training.py. DPO: 8 pairs a step, whose answers differ in length. GRPO: 2 prompts a step, 8 answers of at most 32 tokens
to each, rewarded for how many different characters they have, no distance to the reference model. A sample is a pair,
or an answer.

- samples/s: of the steps after the first --warmup. Martlet scores the answers by the reference model before the first
  step, the other tools in each; what Martlet's steps have of these seconds is added to them;
- first step, whole command, peak: those of training.py. `copy` is TRL with a second model as the reference model, where
  the others switch the adapter off.
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import training
from data import rows as made_up_rows
from training import CALLBACK, SHAPES, SWIFT, measure, report, write_lines

PAIRS, ANSWERS, GENERATIONS = 8, 16, 8
REWARD = "def rewards(samples, params):\n    return [len(set(s.completion)) / 32 for s in samples]\n"
SWIFT_REWARD = """
from swift.rewards import ORM, orms

class Characters(ORM):
    def __call__(self, completions, **_):
        return [len(set(completion)) / 32 for completion in completions]

orms['characters'] = Characters
"""
TRL = (
    CALLBACK
    + """
import sys
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

method, model, data, steps = sys.argv[1:]
common = dict(output_dir="out", max_steps=int(steps), learning_rate=1e-4, report_to="none", use_cpu=True, bf16=False,
              gradient_checkpointing=False, logging_steps=1, save_strategy="no", gradient_accumulation_steps=1,
              model_init_kwargs={"dtype": "float32"})
lora = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
rows = load_dataset("json", data_files=data, split="train")
if method == "grpo":
    config = GRPOConfig(per_device_train_batch_size=16, num_generations=8, max_completion_length=32, temperature=0.9,
                        beta=0.0, **common)
    def characters(completions, **_):
        return [len(set(completion[0]["content"])) / 32 for completion in completions]
    trainer = GRPOTrainer(model, characters, config, rows, peft_config=lora, callbacks=[Steps()])
else:
    config = DPOConfig(per_device_train_batch_size=8, beta=0.1, max_length=512, **common)
    second = AutoModelForCausalLM.from_pretrained(model, dtype="float32") if method == "copy" else None
    trainer = DPOTrainer(model, second, config, train_dataset=rows, peft_config=lora, callbacks=[Steps()])
trainer.train()
"""
)


def prepare(folder: Path, shape: str, steps: int, method: str) -> None:
    """Write the model, and the rows for each tool."""
    training.prepare(folder, shape, steps, None, None)
    choice = Random(0)
    source = list(made_up_rows(steps * PAIRS))
    answers = [row["output"] for row in source]
    choice.shuffle(answers)
    pairs: list[dict[str, Any]] = []
    for row, other in zip(source, answers, strict=True):
        question, answer = training.chat(row)
        pairs.append({"prompt": [question], "chosen": [answer], "rejected": [{"role": "assistant", "content": other}]})
    if method == "grpo":
        pairs = [{"prompt": pair["prompt"]} for pair in pairs]
    write_lines(folder / "pairs.jsonl", pairs)
    swift = [
        {
            "messages": [*pair["prompt"], *pair.get("chosen", [])],
            **({"rejected_response": pair["rejected"][0]["content"]} if "rejected" in pair else {}),
        }
        for pair in pairs
    ]
    write_lines(folder / "swift.jsonl", swift)


def commands(folder: Path, method: str, steps: int, swift: Path | None, trl: Path | None) -> dict[str, list[str]]:
    """Return the command line of each tool."""
    model = str(folder / "model")
    common = (
        f"rlhf --rlhf_type {method} --model {model} --max_steps {steps} --gradient_accumulation_steps 1 "
        f"--per_device_train_batch_size {ANSWERS if method == 'grpo' else PAIRS} --learning_rate 1e-4 --lora_rank 8 "
        "--lora_alpha 32 --lora_dropout 0 --target_modules all-linear --max_length 512 --torch_dtype float32 "
        "--logging_steps 1 --output_dir out --add_version false --split_dataset_ratio 0"
    ).split()
    if method == "grpo":
        common += ["--num_generations", "8", "--max_completion_length", "32", "--temperature", "0.9", "--beta", "0"]
    ours = [*common, "--dataset", str(folder / "pairs.jsonl"), "--report_to", "none"]
    if method == "grpo":
        (folder / "characters.py").write_text(REWARD)
        ours += ["--reward_funcs", "characters", "--external_plugins", str(folder / "characters.py")]
    lines = {"martlet": [str(Path(sys.executable).parent / "martlet"), *ours]}
    if swift:
        (folder / "steps.py").write_text(SWIFT + (SWIFT_REWARD if method == "grpo" else ""))
        lines["ms-swift"] = [
            str(swift / "bin/swift"), *common, "--dataset", str(folder / "swift.jsonl"), "--model_type", "qwen3",
            "--template", "qwen3_nothinking", "--check_model", "false", "--gradient_checkpointing", "false",
            "--save_strategy", "no", "--external_plugins", str(folder / "steps.py"), "--callbacks", "steps",
            *(["--reward_funcs", "characters"] if method == "grpo" else []),
        ]  # fmt: skip
    if trl:
        (folder / "bare.py").write_text(TRL)
        for tool in ("trl", "copy") if method == "dpo" else ("trl",):
            kind = method if tool == "trl" else tool
            rows = str(folder / "pairs.jsonl")
            lines[tool] = [str(trl / "bin/python"), str(folder / "bare.py"), kind, model, rows, str(steps)]
    return lines


def with_reference(rate: float, folder: Path, steps: int) -> float:
    """Return samples per second, the seconds of the reference model included, by the newest log of Martlet's."""
    log = max(folder.rglob("train/progress.jsonl"), key=lambda file: file.stat().st_mtime)
    lines = list(map(json.loads, log.read_text().splitlines()))
    [first] = [n for n, line in enumerate(lines) if line.get("message", "").startswith("reference model: 0 of")]
    [last] = [n for n, line in enumerate(lines) if line.get("message", "").startswith("model: ")]
    seconds = lines[last]["time"] - lines[first]["time"]
    return 1 / (1 / rate + seconds / (steps * PAIRS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=("dpo", "grpo"))
    parser.add_argument("--swift", type=Path, help="environment (a folder) with ms-swift")
    parser.add_argument("--trl", type=Path, help="environment with trl")
    parser.add_argument("--model", choices=SHAPES, default="m100")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2, help="first steps that are not measured")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(prepare, folder, options.model, options.steps, options.method).result()
        tools = commands(folder, options.method, options.steps, options.swift, options.trl)
        results: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
        samples = [ANSWERS if options.method == "grpo" else PAIRS] * options.steps
        for number in range(options.rounds):
            for tool, command in tools.items():
                figures = measure(command, folder, samples, options.warmup, None)
                if tool == "martlet" and options.method == "dpo":
                    figures["rate"] = with_reference(figures["rate"], folder, options.steps)
                results[tool].append(figures)
                print(f"round {number + 1}  {tool:<9} {json.dumps(results[tool][-1])}", flush=True)
    report(results, "samples/s")


if __name__ == "__main__":
    main()
