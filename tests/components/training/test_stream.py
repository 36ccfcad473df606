"""Training on tokens that come meanwhile: the same losses, and going on from a checkpoint in the middle of a chunk."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, Qwen3ForCausalLM

from components.config.groups.train import Train
from components.errors import ConfigError, InterruptedRunError
from components.files import read_json, sha256
from components.training import Chunk, Job, Stream
from components.training.resuming import check_resumable
from components.tuners import lora
from components.tuners._files import WEIGHTS
from tests.components.training.runs import batch, go_on, learn, learn_params, some_rows, write_tokens

CHUNK = 5
ROWS = some_rows(23)
TOTAL = 9


def chunk(rows: list[dict[str, Any]], number: int, epoch: int = 0) -> Chunk:
    return Chunk(batch(rows), number, epoch, {"at": number})


def source(state: dict[str, Any] | None) -> Iterator[Chunk]:
    """Chunks of 5, 5, 5, 5 and 3 rows, again and again."""
    number = state["at"] if state else 0
    while True:
        epoch, place = divmod(number, 5)
        yield chunk(ROWS[CHUNK * place : CHUNK * (place + 1)], number, epoch)
        number += 1


def params(**given: Any) -> Train:
    defaults = {"max_steps": TOTAL, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "save_steps": 2,
                "learning_rate": 1e-2, "logging_steps": 1, "gradient_checkpointing": False}  # fmt: skip
    return learn_params({**defaults, **given}).train


def items(stream: Stream, end: int, start: int = 0) -> list[Any]:
    return [stream[i] for i in range(start, end)]


@pytest.mark.parametrize("packing", [None, "binpack", "sequential"])
def test_every_row_comes_once_in_a_pass(packing: str | None):
    settings = params(packing=packing is not None, packing_strategy=packing or "binpack", packing_length=40)
    stream = Stream(source, settings, shuffle=True)
    stream.begin(None)
    lines: list[list[int]] = []
    numbers = iter(range(len(stream)))
    while len(lines) < len(ROWS):
        item = stream[next(numbers)]
        lines += [row["input_ids"].tolist() for row in (item if packing else [item])]
    assert sorted(lines) == sorted(row["input_ids"] for row in ROWS)
    if not packing:
        assert lines != [row["input_ids"] for row in ROWS]
    assert len(stream) == TOTAL * 4


@pytest.mark.parametrize("packing", [False, True])
def test_the_position_of_every_step_leads_to_what_comes_behind_it(tmp_path: Path, packing: bool):
    settings = params(packing=packing, packing_length=40)
    whole = Stream(source, settings, shuffle=True)
    whole.begin(None)
    expected = items(whole, len(whole))
    for step in range(TOTAL):
        first = Stream(source, settings, shuffle=True)
        first.begin(None)
        items(first, step * 4 + (step % 3))  # the trainer has taken more than it has trained on
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        first.write_position(folder)
        second = Stream(source, settings, shuffle=True)
        second.begin(folder)
        left = items(second, len(whole), start=step * 4)
        np.testing.assert_equal(left, expected[step * 4 :])
        assert second.epoch == whole.epoch


def fit(base: Path, folder: Path, hazard: int | None = None, **given: Any):
    """A run as `runs.learn`, on the stream; it interrupts itself at a step if asked to."""
    settings = learn_params({**params(**given).model_dump(), "lora_dropout": 0.1})
    model = lora.wrap(Qwen3ForCausalLM.from_pretrained(base), settings, settings.train.seed)
    arguments = {"model": {}, "template": {}, "tuner": {}, "train": settings.train.model_dump(), "stream": {"rows": 23}}

    def report(line: dict[str, Any]) -> None:
        if hazard and line.get("step") == hazard:
            os.kill(os.getpid(), signal.SIGINT)

    job = Job(
        params=settings, model=model, tokenizer=AutoTokenizer.from_pretrained(base),
        rows=Stream(source, settings.train, shuffle=False), val_rows=None, checkpoints=folder, save=save,
        restore=lora.restore, arguments=arguments, report=report,
    )  # fmt: skip
    outcome = go_on(job)
    lora.save(model, folder / "final", "base")
    return outcome


def save(model: Any, target: Path) -> None:
    lora.save(model, target, "base")


def test_a_stream_that_was_interrupted_ends_with_the_same_weights(tiny_model: Path, tmp_path: Path):
    whole = fit(tiny_model, tmp_path / "whole")
    assert (whole.steps, whole.epochs) == (TOTAL, 1.0)
    with pytest.raises(InterruptedRunError):
        fit(tiny_model, tmp_path / "cut", hazard=5)
    # Six steps are 24 rows: a pass of 23 in five chunks, and the first of the next.
    assert read_json(tmp_path / "cut/checkpoint-6/stream.json") == {"chunk": {"at": 5}, "item": 1}
    again = fit(tiny_model, tmp_path / "cut")
    assert sha256(tmp_path / "cut/final" / WEIGHTS) == sha256(tmp_path / "whole/final" / WEIGHTS)
    assert again.history == whole.history
    # A run that has ended has nothing left to do, and changes nothing.
    assert fit(tiny_model, tmp_path / "cut").steps == TOTAL
    assert sha256(tmp_path / "cut/final" / WEIGHTS) == sha256(tmp_path / "whole/final" / WEIGHTS)


def test_a_checkpoint_of_other_data_is_refused(tiny_model: Path, tmp_path: Path):
    fit(tiny_model, tmp_path, max_steps=2)
    arguments = read_json(tmp_path / "checkpoint-2/args.json")
    check_resumable(tmp_path / "checkpoint-2", {}, arguments, {})
    with pytest.raises(ConfigError, match="--rows was 23 and is 24"):
        check_resumable(tmp_path / "checkpoint-2", {}, {**arguments, "stream": {"rows": 24}}, {})


def test_the_losses_are_those_of_the_same_rows_in_a_file(tiny_model: Path, tmp_path: Path):
    """One step with all rows, so that their order does not matter."""
    tokens = write_tokens(tmp_path / "tokens", ROWS)
    one = {"max_steps": 1, "per_device_train_batch_size": 23, "gradient_accumulation_steps": 1}
    kept = learn(tiny_model, tokens, tmp_path / "kept", **one).history[0]
    passed = fit(tiny_model, tmp_path / "passed", **one).history[0]
    assert passed["loss"] == pytest.approx(kept["loss"], rel=1e-5)
