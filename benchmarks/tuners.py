"""What each tuner learns of the examples on the tiny base, with how many weights, how much memory and CPU time.

    python benchmarks/tuners.py [--tuners lora ia3] [--learning_rates lora=2e-3 ia3=0.05] [--epochs 4]

Each tuner is trained as `martlet demo` trains, on examples/, and answers the held-out questions of examples/eval;
an answer is right where it is the expected text. Prints the rows of a Markdown table. Needs `make base`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from components.files import read_json
from components.tuners import TUNERS

ROOT = Path(__file__).resolve().parents[1]
SETS = ("identity", "sounds", "skills")
IDENTITY = ("--model_name", "Martlet", "--model_author", "the Martlet team")
RATES = {"lora": 4e-3, "dora": 4e-3}
"""Peak learning rates for a model of two million weights; other tuners take their own default."""
EXTRA = {"llamapro": ("--llamapro_num_new_blocks", "3")}
"""Parameters that the three blocks of the tiny base need."""


def command(*words: object) -> tuple[int, float]:
    """Run `martlet WORDS` in the repository; return its peak memory in bytes and its CPU seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", *map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: martlet {' '.join(map(str, words))}")
    return usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def shares(adapter: Path, answers: Path) -> list[float]:
    """Return the share of the held-out questions of each set that an adapter answers as expected."""
    files = [ROOT / "examples/eval" / f"{name}.jsonl" for name in SETS]
    command("infer", "--adapters", adapter, "--val_dataset", *files, "--result_path", answers, *IDENTITY,
            "--temperature", 0, "--max_new_tokens", 64)  # fmt: skip
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    hits = iter([row["response"].strip() == row["labels"].strip() for row in rows])
    counts = [len(file.read_text().splitlines()) for file in files]
    assert sum(counts) == len(rows)
    return [sum(next(hits) for _ in range(count)) / count for count in counts]


def measured(tuner: str, rate: float, epochs: float, folder: Path) -> str:
    """Return the row of a tuner: trainable weights, rate, shares of right answers, memory and CPU seconds."""
    memory, seconds = command(
        "sft", "--model", ROOT / "models/base", "--dataset", *(ROOT / "examples" / f"{name}.jsonl" for name in SETS),
        *IDENTITY, "--split_dataset_ratio", 0, "--max_length", 512, "--lora_dropout", 0, "--num_train_epochs", epochs,
        "--per_device_train_batch_size", 16, "--gradient_accumulation_steps", 1, "--learning_rate", rate,
        "--warmup_ratio", 0.05, "--save_steps", 10_000, "--report_to", "none", "--add_version", "false",
        "--output_dir", folder, "--tuner_type", tuner, *EXTRA.get(tuner, ()),
    )  # fmt: skip
    report = read_json(folder / "reports/train.json")
    adapter = max(folder.glob("checkpoint-*"))
    right = " | ".join(f"{share:.0%}" for share in shares(adapter, folder / "answers.jsonl"))
    return (
        f"| `{tuner}` | {report['trainable_parameters']:,} | {rate:g} | {right} | {memory / 1e6:.0f} MB "
        f"| {seconds:.0f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuners", nargs="+", default=TUNERS.names())
    parser.add_argument("--learning_rates", nargs="+", default=[], metavar="TUNER=RATE")
    parser.add_argument("--epochs", type=float, default=4)
    options = parser.parse_args()
    rates = RATES | {name: float(rate) for name, _, rate in (pair.partition("=") for pair in options.learning_rates)}
    print(f"| tuner | trainable weights | learning rate | {' | '.join(SETS)} | peak memory | CPU time |")
    print("|---" * 8 + "|")
    for tuner in options.tuners:
        with tempfile.TemporaryDirectory() as folder:
            rate = rates.get(tuner) or TUNERS.constant(tuner, "LEARNING_RATE", None)
            print(measured(tuner, rate, options.epochs, Path(folder) / "run"), flush=True)


if __name__ == "__main__":
    main()
