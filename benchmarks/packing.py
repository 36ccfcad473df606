"""Packing: rows per second, fill, and useful tokens per second beside padding, all in one run.

    python benchmarks/packing.py [--model models/base] [--length 2048] [--rows 52000] [--train_rows 400]

Row lengths are log-normal with a mean of 84 tokens, as those of alpaca. The base of `--model` is trained with LoRA for
one epoch in each way, with about 16 rows to a forward pass where they are padded. Real tokens are counted, padding
never. Needs `make base`, or another `--model`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from components import models, training, tuners
from components.config import Params
from components.training.packing import pack

ROOT = Path(__file__).resolve().parents[1]
MEAN, SPREAD = 84, 0.8


def lengths_of_chats(rows: int, longest: int) -> np.ndarray:
    drawn = np.random.default_rng(0).lognormal(np.log(MEAN) - SPREAD**2 / 2, SPREAD, rows)
    return np.clip(drawn.astype(np.int32), 4, longest)


def write_tokens(folder: Path, lengths: np.ndarray, vocabulary: int) -> Path:
    ids = np.random.default_rng(1).integers(3, vocabulary, lengths.sum(), dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), pa.array(ids))
    columns = {
        "input_ids": lists,
        "labels": lists,
        "length": pa.array(lengths, pa.int32()),
        "source": pa.array(["drawn"] * len(lengths)),
        "row": pa.array(range(1, len(lengths) + 1), pa.int32()),
    }
    table = pa.table(columns)
    with pa.OSFile(str(folder / "train.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder


def tokens_per_second(base: Path, tokens: Path, folder: Path, **ways: object) -> float:
    defaults = {"num_train_epochs": 1, "gradient_accumulation_steps": 1, "gradient_checkpointing": False}
    params = Params.model_validate({"train": {**defaults, "save_steps": 10**6, **ways}})
    method = tuners.tuner("lora")
    model = method.wrap(models.load_model(base), params.tuner, 0)
    outcome = training.train(
        model, models.load_tokenizer(base), tokens, training.settled(params.train, 1e-4), folder,
        lambda model, target: method.save(model, target, base=str(base)), {}, [].append,
    )  # fmt: skip
    return outcome.tokens_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/base")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=52_000)
    parser.add_argument("--train_rows", type=int, default=400)
    options = parser.parse_args()
    lengths = lengths_of_chats(options.rows, options.length)
    for strategy in ("binpack", "sequential"):
        began = time.perf_counter()
        _, bounds = pack(lengths, options.length, strategy)
        rate = len(lengths) / (time.perf_counter() - began)
        fill = lengths.sum() / ((len(bounds) - 1) * options.length)
        print(f"{strategy:<12} {rate:12,.0f} rows/s   {fill:.2%} full at {options.length:,}")
    ways = {
        "padded": {"per_device_train_batch_size": 16},
        "group_by_length": {"per_device_train_batch_size": 16, "group_by_length": True},
        "padding_free": {"per_device_train_batch_size": 16, "padding_free": True},
        **{f"packed {n:,}": {"packing": True, "packing_length": n} for n in (512, 1024, options.length)},
    }
    with tempfile.TemporaryDirectory() as folder:
        short = np.minimum(lengths[: options.train_rows], 512)
        vocabulary = len(models.load_tokenizer(options.model))
        tokens = write_tokens(Path(folder), short, vocabulary)
        rates = {
            name: tokens_per_second(options.model, tokens, Path(folder) / name, **way) for name, way in ways.items()
        }
    for name, rate in rates.items():
        print(f"{name:<16} {rate:10,.0f} useful tokens/s   {rate / rates['padded']:.2f} x padded")


if __name__ == "__main__":
    main()
