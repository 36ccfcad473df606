"""Tiny random models come to tell a high tone from a low one, and which way a square moves: `martlet sft`, `export`,
`infer`, as a user types them. The held-out files have other pitches, colours and places."""

import io
import json
import random
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.multimodal.build import build
from tests.commands import Command, martlet


def tone(choice: random.Random, name: str) -> bytes:
    """A WAV file of a quarter of a second, of any loudness: below 400 Hz, or above 2,000."""
    pitch = choice.uniform(200, 400) if name == "low" else choice.uniform(2000, 3000)
    angle = 2 * np.pi * pitch * np.arange(4000) / 16_000 + choice.uniform(0, 6)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.sin(angle) * choice.uniform(0.2, 0.8) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def motion(choice: random.Random, name: str) -> bytes:
    """An MP4 of four frames, in which a square of any colour moves to a side."""
    import av

    colour, top, side = [choice.randint(120, 255) for _ in range(3)], choice.randint(4, 36), choice.randint(12, 20)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=4)
        stream.width = stream.height = 56
        stream.pix_fmt = "yuv420p"
        for frame in range(4):
            pixels = np.zeros((56, 56, 3), np.uint8)
            left = 12 * (frame if name == "right" else 3 - frame)
            pixels[top : top + side, left : left + side] = colour
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


class Kind(NamedTuple):
    """What a model is to tell of a kind of media."""

    model_type: str
    question: str
    answers: tuple[str, str]
    draw: Callable[[random.Random, str], bytes]
    suffix: str
    flags: str


KINDS = {
    "audio": Kind("gemma4_unified", "Which tone?", ("low", "high"), tone, ".wav", ""),
    "video": Kind("qwen2_vl", "Where does it go?", ("left", "right"), motion, ".mp4", "--nframes 4"),
}


@pytest.mark.slow  # three minutes: a model learns to its end
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_to_tell_what_it_hears_and_sees_move(kind: str, tmp_path: Path) -> None:
    model_type, question, answers, draw, suffix, flags = KINDS[kind]
    build(model_type, tmp_path / "model")
    choice, rows = random.Random(0), []
    for number in range(120):
        answer = answers[number % 2]
        (tmp_path / f"{number}{suffix}").write_bytes(draw(choice, answer))
        rows.append({"query": f"<{kind}>{question}", "response": answer, f"{kind}s": [f"{number}{suffix}"]})
    for name, part in (("train", rows[:96]), ("held", rows[96:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    learning = (
        "--freeze_vit false --freeze_aligner false --lora_rank 16 --lora_alpha 32 --learning_rate 5e-3 "
        "--per_device_train_batch_size 16 --gradient_accumulation_steps 1 --max_steps 90 --split_dataset_ratio 0 "
        f"--report_to none --add_version false --output_dir trained {flags}"
    ).split()
    trained = Command(tmp_path, "sft", "--model", "model", "--dataset", "train.jsonl", *learning).wait(500)
    assert trained.returncode == 0, trained.stderr
    martlet(tmp_path, "export", "--adapters", "trained", "--merge_lora", "true", "--output_dir", "merged")
    words = ["--val_dataset", "held.jsonl", "--temperature", 0, "--max_new_tokens", 8, "--result_path", "said.jsonl"]
    martlet(tmp_path, "infer", "--model", "merged", *words)
    said = [json.loads(line)["response"] for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert sum(own == row["response"] for own, row in zip(said, rows[96:], strict=True)) >= 0.9 * len(said)
