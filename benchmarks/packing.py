"""Packing: rows packed per second, fill of the packs, and training speed beside padding.

    python benchmarks/packing.py [--model models/base] [--length 2048] [--rows 52000] [--train_rows 400]

Row lengths are log-normal with a mean of 84 tokens, like alpaca's. `--model` is trained with LoRA for one epoch in each
way; padded batches have 16 rows. Padding is not counted in tokens per second. Needs `make base`, or another `--model`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from components import models, training
from components.config import Params
from components.tokens import Ragged, TokenRows, to_batch
from components.training.packing import pack
from components.tuners import TUNERS

ROOT = Path(__file__).resolve().parents[1]
MEAN_TOKENS, LOG_SPREAD = 84, 0.8


def chat_lengths(rows: int, longest: int) -> np.ndarray:
    lengths = np.random.default_rng(0).lognormal(np.log(MEAN_TOKENS) - LOG_SPREAD**2 / 2, LOG_SPREAD, rows)
    return np.clip(lengths.astype(np.int32), 4, longest)


def token_rows(lengths: np.ndarray, vocabulary: int) -> TokenRows:
    """Return rows of random tokens, all of them learned."""
    ids = np.random.default_rng(1).integers(3, vocabulary, lengths.sum(), dtype=np.int32)
    column = Ragged(ids, np.concatenate([[0], np.cumsum(lengths)]))
    count = len(lengths)
    return TokenRows(to_batch("sft", {"input_ids": column, "labels": column}, ["random"] * count, range(count)))


def tokens_per_second(base: Path, rows: TokenRows, folder: Path, **options: object) -> float:
    """Train `base` on `rows` with LoRA and the parameters `options`; return the rate without padding."""
    defaults = {"num_train_epochs": 1, "gradient_accumulation_steps": 1, "gradient_checkpointing": False}
    train = {**defaults, "save_steps": 10**6, **options}
    params = training.settled(Params.model_validate({"train": train}), 1e-4)
    lora = TUNERS.load("lora")
    job = training.Job(
        params=params, model=lora.wrap(models.load_model(base), params, 0), tokenizer=models.load_tokenizer(base),
        rows=training.Packs(rows, params.train.packing_length, params.train.packing_strategy)
        if params.train.packing else rows,
        val_rows=None, checkpoints=folder, save=lora.save, restore=lora.restore, arguments={}, report=[].append,
    )  # fmt: skip
    return training.train(job).tokens_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/base")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=52_000)
    parser.add_argument("--train_rows", type=int, default=400)
    options = parser.parse_args()
    lengths = chat_lengths(options.rows, options.length)
    for strategy in ("binpack", "sequential"):
        start = time.perf_counter()
        _, bounds = pack(lengths, options.length, strategy)
        rate = len(lengths) / (time.perf_counter() - start)
        fill = lengths.sum() / ((len(bounds) - 1) * options.length)
        print(f"{strategy:<12} {rate:12,.0f} rows/s   {fill:.2%} full at {options.length:,}")
    ways = {
        "padded": {"per_device_train_batch_size": 16},
        "group_by_length": {"per_device_train_batch_size": 16, "group_by_length": True},
        "padding_free": {"per_device_train_batch_size": 16, "padding_free": True},
        **{f"packed {n:,}": {"packing": True, "packing_length": n} for n in (512, 1024, options.length)},
    }
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = len(models.load_tokenizer(options.model))
        rows = token_rows(np.minimum(lengths[: options.train_rows], 512), vocabulary)
        rates = {name: tokens_per_second(options.model, rows, Path(folder) / name, **way) for name, way in ways.items()}
    for name, rate in rates.items():
        print(f"{name:<16} {rate:10,.0f} tokens/s   {rate / rates['padded']:.2f} x padded")


if __name__ == "__main__":
    main()
