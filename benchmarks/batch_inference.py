"""Answers to a file of questions: seconds of the whole command, and tokens per second once the model is loaded.

    python benchmarks/batch_inference.py FOLDER --swift DIR/swift [--rows 512] [--rounds 2]

FOLDER is a model without end tokens among its likeliest, so that all answers have `--tokens` tokens; temperature 0.
Each program answers all rows and, to know what loading takes, an eighth of them, in turn with the other; figures are of
the medians. ms-swift answers 16 rows together, which was its fastest here; Martlet chooses for itself.
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

QUESTION = "This is question {} of many. What would you say to somebody who asks {} times?"


def commands(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command of each program, without its rows and its result."""
    common = ["--model", arguments.folder, "--max_new_tokens", str(arguments.tokens), "--temperature", "0"]
    programs = {"martlet": [str(Path(sys.executable).with_name("martlet")), "infer", *common, *arguments.flags]}
    if arguments.swift:
        flags = ["--model_type", "qwen3", "--template", "qwen3", "--infer_backend", "pt", "--max_batch_size", "16"]
        more = ["--stream", "false", "--val_dataset_shuffle", "false"]
        programs["ms-swift"] = [f"{arguments.swift}/bin/swift", "infer", *common, *flags, *more]
    return programs


def seconds(command: list[str], rows: int, folder: Path) -> float:
    """Return how long a command takes to answer `rows` questions; all must be answered."""
    questions, result = folder / "questions.jsonl", folder / "answers.jsonl"
    lines = [json.dumps({"messages": [{"role": "user", "content": QUESTION.format(n, n % 7)}]}) for n in range(rows)]
    questions.write_text("\n".join(lines) + "\n")
    result.unlink(missing_ok=True)
    words = [*command, "--val_dataset", str(questions), "--result_path", str(result)]
    begun = time.perf_counter()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    elapsed = time.perf_counter() - begun
    answers = result.read_text().splitlines() if result.exists() else []
    if len(answers) != rows or not all(json.loads(answer)["response"] for answer in answers):
        raise SystemExit(f"{' '.join(words)}: {len(answers)} answers\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return elapsed


def main() -> None:
    """Print the medians of each program, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a model folder")
    parser.add_argument("--swift", help="an environment with ms-swift")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--flags", nargs="*", default=[], help="more flags of martlet, as max_batch_size=32")
    arguments = parser.parse_args()
    few = arguments.rows // 8
    taken: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(arguments.rounds):
            for program, command in commands(arguments).items():
                for rows in (arguments.rows, few):
                    taken.setdefault((program, rows), []).append(seconds(command, rows, Path(name)))
                    print(program, rows, f"{taken[program, rows][-1]:.1f} s", flush=True)
    whole = {program: statistics.median(taken[program, arguments.rows]) for program in commands(arguments)}
    speed = {
        program: (arguments.rows - few) * arguments.tokens / (whole[program] - statistics.median(taken[program, few]))
        for program in whole
    }
    for program in whole:
        print(
            f"{program}: {whole[program]:.1f} s ({whole['martlet'] / whole[program]:.2f} × is ours), "
            f"{speed[program]:,.0f} tokens/s once loaded (ours is {speed['martlet'] / speed[program]:.2f} ×)"
        )


if __name__ == "__main__":
    main()
