"""Rows with pictures: rows a second from token files to batches, and speed of LoRA SFT, beside ms-swift.

    python benchmarks/media.py batches --swift /envs/swift [--rows 256] [--rounds 3]
    python benchmarks/media.py sft --swift /envs/swift [--steps 40] [--rounds 3]

The model is a tiny Qwen2-VL with random weights; each row is a question about one JPEG of a size between 224 x 224 and
640 x 480, and an answer. The environment of ms-swift also needs qwen_vl_utils, torchvision and av. Rounds alternate, so
that a change in the machine's speed affects both.

- batches: two workers of a DataLoader make batches of 8, for two epochs. A first epoch has the start of the workers in
  it. Martlet reads its token files, ms-swift its rows, which it encodes in the workers, as it does in training.
  `whole` is from the file of rows to the end of the last epoch: Martlet then has also hashed and checked each picture.
- sft: useful tokens (without padding) a second, as in training.py, with two workers and two epochs of the rows.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from training import BATCH, SEED, SWIFT, measure, report, write_lines

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((224, 224), (320, 240), (448, 336), (640, 480))
WORDS = [f"{a}{b}" for a in ("red", "green", "round", "left", "upper") for b in ("thing", "side", "wall", "edge")]

OURS = """
import json, sys, time
from pathlib import Path
import torch
from components.config import Params
from components.media import load_processor
from components.tokens import TokenRows
from components.training.collators import Padded
from components.training.features import Features
from components.training.media import WithMedia
from tasks.stages import fetch, reuse, runner, template, validate
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import Paths

if __name__ == "__main__":
    prepare_environment()
    model, data, folder = sys.argv[1:]
    began = time.perf_counter()
    params = Params.model_validate({"model": {"model": model}, "data": {"dataset": [data], "split_dataset_ratio": 0}})
    paths = Paths(Path(folder), Path.cwd())
    runner.run("fetch", fetch.run, params, paths)
    reuse.run("validate", params, paths)
    reuse.run("template", params, paths)
    rows = TokenRows(paths.tokens / "train.arrow")
    processor = load_processor(Path(model), params.multimodal, paths.media)
    features = Features(processor, torch.float32, Path(folder) / "features")
    collate = WithMedia(Padded(processor.tokenizer.pad_token_id), features)
"""
THEIRS = """
import json, sys, time
import components
from swift.dataset import LazyLLMDataset, load_dataset
from swift.model import get_model_processor
from swift.template import get_template

if __name__ == "__main__":
    model, data, folder = sys.argv[1:]
    began = time.perf_counter()
    network, processor = get_model_processor(model, model_type="qwen2_vl")
    template = get_template(processor, max_length=2048, template_type="qwen2_vl")
    template.model = network
    template.set_mode("train")
    rows, _ = load_dataset(data, num_proc=1, load_from_cache_file=False)
    rows, collate = LazyLLMDataset(rows, template.encode), template.data_collator
"""
BATCHES = """
    from torch.utils.data import DataLoader
    loader = DataLoader(rows, 8, shuffle=True, num_workers=2, collate_fn=collate, persistent_workers=True)
    epochs = []
    for _ in range(2):
        start = time.perf_counter()
        tokens = sum(batch["input_ids"].numel() for batch in loader)
        epochs.append(len(rows) / (time.perf_counter() - start))
    print("RESULT", json.dumps({"first": epochs[0], "second": epochs[1], "tokens": tokens,
                                "whole": 2 * len(rows) / (time.perf_counter() - began)}))
"""


def prepare(folder: Path, count: int) -> list[int]:
    """Write the model, pictures and rows; return the number of tokens of each row in the order of ms-swift's file.

    ms-swift reads its rows in the order of their file, so its file has the order of the Trainer's sampler.
    """
    import torch
    from PIL import Image

    from benchmarks.multimodal.build import build

    build("qwen2_vl", folder / "model")
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder / "model")
    choice, rows, lengths = random.Random(SEED), [], []
    for number in range(count):
        file, size = folder / f"{number}.jpg", choice.choice(SIZES)
        small = Image.frombytes("RGB", (16, 12), choice.randbytes(16 * 12 * 3))
        picture = small.resize(size, Image.Resampling.BICUBIC)
        picture.save(file, quality=90)
        question, answer = (" ".join(choice.choices(WORDS, k=k)) for k in (12, 24))
        messages = [{"role": "user", "content": f"<image>{question}"}, {"role": "assistant", "content": answer}]
        rows.append({"messages": messages, "images": [str(file)]})
        parts = [{"type": "image"}, {"type": "text", "text": question}]
        chat = [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
        text = processor.apply_chat_template(chat, tokenize=False)
        lengths.append(len(processor(text=[text], images=[picture])["input_ids"][0]))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED)).tolist()
    write_lines(folder / "martlet.jsonl", rows)
    write_lines(folder / "swift.jsonl", [rows[i] for i in order])
    return [lengths[i] for i in order]


def run(python: Path, code: str, folder: Path, data: str) -> dict[str, float]:
    """Run `code` with an interpreter and return the figures that it printed."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "run.py").write_text(code + BATCHES)
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env |= {"MARTLET_CACHE": str(own / "cache"), "HF_DATASETS_CACHE": str(own / "hf")}
    words = [str(python), str(own / "run.py"), str(folder / "model"), str(folder / data), str(own)]
    process = subprocess.run(words, env=env, cwd=own, capture_output=True, text=True)
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(process.stdout[-2000:] + process.stderr[-3000:])
    return json.loads(lines[-1].removeprefix("RESULT "))


def batches(folder: Path, swift: Path, rounds: int) -> None:
    """Print rows a second to batches, and the ratios of each round's figures."""
    tools: dict[str, tuple[Path, str, str]] = {
        "martlet": (Path(sys.executable), OURS, "martlet.jsonl"),
        "ms-swift": (swift / "bin/python", THEIRS, "swift.jsonl"),
    }
    results: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
    for number in range(rounds):
        for tool, (python, code, data) in tools.items():
            results[tool].append(run(python, code, folder, data))
            print(f"round {number + 1}  {tool:<9} {results[tool][-1]}", flush=True)
    for name in ("first", "second", "whole"):
        ratios = [ours[name] / theirs[name] for ours, theirs in zip(*results.values(), strict=True)]
        print(f"{name:<7} {statistics.median(ratios):.2f} x")


def commands(folder: Path, steps: int, swift: Path) -> dict[str, list[str]]:
    """Return the command line of each tool."""
    (folder / "steps.py").write_text(SWIFT)
    common = [
        "--model", str(folder / "model"), "--max_steps", str(steps), "--per_device_train_batch_size", str(BATCH),
        "--gradient_accumulation_steps", "1", "--learning_rate", "1e-4", "--lora_rank", "8", "--lora_alpha", "32",
        "--lora_dropout", "0", "--target_modules", "all-linear", "--max_length", "2048", "--torch_dtype", "float32",
        "--logging_steps", "1", "--output_dir", "out", "--add_version", "false", "--dataset_shuffle", "false",
        "--split_dataset_ratio", "0", "--dataloader_num_workers", "2",
    ]  # fmt: skip
    theirs = [
        "--model_type", "qwen2_vl", "--template", "qwen2_vl", "--check_model", "false", "--train_dataloader_shuffle",
        "false", "--gradient_checkpointing", "false", "--save_strategy", "no", "--callbacks", "steps",
        "--external_plugins", str(folder / "steps.py"), "--dataset", str(folder / "swift.jsonl"),
    ]  # fmt: skip
    martlet = [str(Path(sys.executable).parent / "martlet"), "sft", "--dataset", str(folder / "martlet.jsonl")]
    # Our package first: torchvision then imports beside a torch for CPUs.
    start = "import components; from swift.pipelines import sft_main; sft_main()"
    return {
        "martlet": [*martlet, *common, "--report_to", "none"],
        "ms-swift": [str(swift / "bin/python"), "-c", start, *common, *theirs],
    }


def sft(folder: Path, lengths: list[int], steps: int, swift: Path, rounds: int) -> None:
    """Print useful tokens a second of the steps behind the first two."""
    tokens = [sum(lengths[at : at + BATCH]) for at in range(0, len(lengths), BATCH)]
    tokens = (tokens * 2)[:steps]
    os.environ["PYTHONPATH"] = str(ROOT)
    tools = commands(folder, steps, swift)
    results: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    for number in range(rounds):
        for tool, command in tools.items():
            results[tool].append(measure(command, folder, tokens, 2, None))
            print(f"round {number + 1}  {tool:<9} {results[tool][-1]['rate']:9,.0f} tokens/s", flush=True)
    report(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("batches", "sft"))
    parser.add_argument("--swift", type=Path, required=True, help="environment (a folder) with ms-swift")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), options.rows if options.what == "batches" else options.steps * BATCH // 2
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            lengths = other.submit(prepare, folder, count).result()
        print(f"{count} rows of {sum(lengths) / count:,.0f} tokens", flush=True)
        if options.what == "batches":
            batches(folder, options.swift, options.rounds)
        else:
            sft(folder, lengths, options.steps, options.swift, options.rounds)


if __name__ == "__main__":
    main()
