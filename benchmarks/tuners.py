"""What each tuner learns of the examples on the tiny base: with how many weights, how much memory and CPU time.

    python benchmarks/tuners.py [--tuners lora ia3] [--learning_rates lora=2e-3 ia3=0.05] [--epochs 4]

Each tuner is trained as `martlet demo` trains, on examples/, in a process of its own, and answers the held-out
questions of examples/eval; an answer is right where it is the expected text. Prints a Markdown table. Needs
`make base`.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from components import models, training
from components.config import Params
from components.tokens import TokenRows
from components.tuners import TUNERS

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "models/base"
SETS = ("identity", "sounds", "skills")
NAMES = {"{{NAME}}": "Martlet", "{{AUTHOR}}": "the Martlet team"}
RATES = {"lora": 4e-3, "dora": 4e-3}
"""Peak learning rates for a model of two million weights; other tuners take their own default."""
EXTRA: dict[str, dict[str, Any]] = {"llamapro": {"llamapro": {"llamapro_num_new_blocks": 3}}}
"""Parameters that the three blocks of the tiny base need."""


def tokens(folder: Path) -> Path:
    """Return the token file of the examples, made by one step of a training in `folder`."""
    words = ["--model", BASE, "--dataset", *(ROOT / "examples" / f"{name}.jsonl" for name in SETS), "--max_steps", 1,
             "--model_name", NAMES["{{NAME}}"], "--model_author", NAMES["{{AUTHOR}}"], "--split_dataset_ratio", 0,
             "--report_to", "none", "--add_version", "false", "--output_dir", folder]  # fmt: skip
    command = [sys.executable, "-m", "apps.cli.main", "sft", *map(str, words)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "data/tokens/train.arrow"


def answers(model: Any, tokenizer: Any, questions: list[str]) -> list[str]:
    """Return the greedy answers of a model to single questions."""
    import torch

    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        for text in questions
    ]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        out = model.eval().generate(**inputs, max_new_tokens=40, do_sample=False)
    return tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def right(model: Any, tokenizer: Any, name: str) -> float:
    """Return the share of the held-out questions of a set that a model answers as expected."""
    text = (ROOT / "examples/eval" / f"{name}.jsonl").read_text(encoding="utf-8")
    for placeholder, value in NAMES.items():
        text = text.replace(placeholder, value)
    rows = [json.loads(line) for line in text.splitlines()]
    told = answers(model, tokenizer, [row["query"] for row in rows])
    return sum(a.strip() == row["response"].strip() for a, row in zip(told, rows, strict=True)) / len(rows)


def measured(tuner: str, rate: float, epochs: float, file: Path, folder: Path) -> str:
    """Train a tuner; return its row of the table."""
    began, method, tokenizer = time.process_time(), TUNERS.load(tuner), models.load_tokenizer(BASE)
    train = {
        "num_train_epochs": epochs, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1,
        "learning_rate": rate, "warmup_ratio": 0.05, "save_steps": 10_000,
    }  # fmt: skip
    groups = {"train": train, "tuner": {"tuner_type": tuner}, "lora": {"lora_dropout": 0}, **EXTRA.get(tuner, {})}
    params = training.settled(Params.model_validate(groups), rate)
    model = method.wrap(models.load_model(BASE), params, params.train.seed)
    outcome = training.train(
        training.Job(
            params=params, model=model, tokenizer=tokenizer, rows=TokenRows(file), val_rows=None, checkpoints=folder,
            save=method.save, restore=method.restore, arguments={}, report=[].append,
        )
    )  # fmt: skip
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shares = " | ".join(f"{right(model, tokenizer, name):.0%}" for name in SETS)
    return f"| `{tuner}` | {outcome.trainable:,} | {rate:g} | {shares} | {peak:.0f} MB | {seconds:.0f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuners", nargs="+", default=TUNERS.names())
    parser.add_argument("--learning_rates", nargs="+", default=[], metavar="TUNER=RATE")
    parser.add_argument("--epochs", type=float, default=4)
    options = parser.parse_args()
    rates = RATES | {name: float(rate) for name, _, rate in (pair.partition("=") for pair in options.learning_rates)}
    training.preload().join()  # once, for the processes that are forked
    print(f"| tuner | trainable weights | learning rate | {' | '.join(SETS)} | peak memory | CPU time |")
    print("|---" * 8 + "|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = tokens(folder / "tokens")
        for tuner in options.tuners:
            rate = rates.get(tuner) or TUNERS.constant(tuner, "LEARNING_RATE", None)
            with get_context("fork").Pool(1) as pool:
                print(pool.apply(measured, (tuner, rate, options.epochs, file, folder / tuner)), flush=True)


if __name__ == "__main__":
    main()
