"""Cold start: seconds to the first optimizer step of `martlet sft`, bare TRL and ms-swift, on the same model and data.

    python benchmarks/start.py --trl /envs/trl/bin/python --swift /envs/swift/bin/swift [--runs 3]

TRL and ms-swift are optional, each in an environment of its own. Runs alternate, so that a change in the machine's
speed affects all. Prints the median wall time until the first optimizer step is logged, and the ratios. Needs
`make base`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL, ROWS = ROOT / "models/base", 200
TRL = """
import sys
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
from transformers import TrainerCallback

class First(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        print("FIRST STEP", flush=True)

model, data, out = sys.argv[1:]
config = SFTConfig(output_dir=out, max_steps=1, per_device_train_batch_size=8, learning_rate=1e-4, report_to="none",
                   max_length=512, use_cpu=True, bf16=False, gradient_checkpointing=False)
SFTTrainer(model, config, train_dataset=load_dataset("json", data_files=data, split="train"),
           peft_config=LoraConfig(r=8, lora_alpha=32, target_modules="all-linear"), callbacks=[First()]).train()
"""


def until(command: list[str], mark: str, cwd: Path) -> float:
    """Return the seconds until `mark` is in the output of `command`, and stop the command."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout
        lines = []
        for line in run.stdout:
            lines.append(line)
            if mark in line:
                seconds = time.perf_counter() - start
                run.kill()
                return seconds
    raise SystemExit("no first step in the output of " + " ".join(command) + "\n" + "".join(lines[-20:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trl", help="python of an environment with trl")
    parser.add_argument("--swift", help="swift of an environment with ms-swift")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        lines = (ROOT / "examples/skills.jsonl").read_text().splitlines()[:ROWS]
        data.write_text("\n".join(json.dumps({"messages": json.loads(line)["messages"]}) for line in lines) + "\n")
        times = measure(options, Path(folder), data)
    ours = statistics.median(times["martlet"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"({min(seconds):.2f}–{max(seconds):.2f})"
        print(f"{name:<8} {median:6.2f} s  {spread}   martlet takes {ours / median:.0%} of this")


def measure(options: argparse.Namespace, folder: Path, data: Path) -> dict[str, list[float]]:
    common = f"--model {MODEL} --train_type lora --dataset {data} --max_steps 2 --per_device_train_batch_size 8 "
    common += "--gradient_accumulation_steps 1 --learning_rate 1e-4 --lora_rank 8 --lora_alpha 32 --max_length 512 "
    common += "--torch_dtype float32 --logging_steps 1"
    martlet = [str(Path(sys.executable).parent / "martlet"), "sft", *common.split(), "--report_to", "none"]
    commands = {"martlet": (martlet, "step 1/")}
    if options.trl:
        (folder / "bare.py").write_text(TRL)
        commands["trl"] = ([options.trl, "bare.py", str(MODEL), str(data), "trl"], "FIRST STEP")
    if options.swift:
        theirs = common.replace("--train_type", "--tuner_type").split()
        swift = [
            options.swift,
            "sft",
            *theirs,
            "--check_model",
            "false",
            "--model_type",
            "qwen3",
            "--template",
            "qwen3_nothinking",
        ]
        commands["swift"] = (swift, "'global_step/max_steps': '1/")
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.runs + 1):
        for name, (command, mark) in commands.items():
            times[name].append(until(command, mark, folder))
    return {name: seconds[1:] for name, seconds in times.items()}  # the first round warms the disk


if __name__ == "__main__":
    main()
