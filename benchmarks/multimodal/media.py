"""Small files of pictures, videos and sounds, and canonical rows that ask about them."""

import wave
from pathlib import Path
from typing import Any

from components.media import COLUMNS, TAGS

QUESTIONS = ("What is it?", "Look: what might this one be?", "Why?")
ANSWERS = ("a red kite", "two owls", "because")
SIDE, FRAMES, RATE = 56, 4, 16_000


def write_medium(file: Path, kind: str, seed: int) -> None:
    """Write a random picture or video, lighter towards one side; or half a second of sound."""
    import av
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    if kind == "audio":
        with wave.open(str(file), "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            sound.writeframes((random.standard_normal(RATE) * 3000).astype("<i2").tobytes())
        return
    ramp = np.linspace(0, 200, SIDE).astype(np.uint8)
    ramp = ramp[:, None, None] if seed % 2 else ramp[None, :, None]
    pixels = random.integers(0, 56, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8) + ramp
    if kind == "image":
        Image.fromarray(pixels[0]).save(file)
        return
    with av.open(str(file), "w") as video:
        stream: Any = video.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for frame in pixels:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        video.mux(stream.encode())


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return two canonical rows about different media, whose files are written, and one without a medium."""
    suffix = {"image": "png", "video": "mp4", "audio": "wav"}[kind]
    rows: list[dict[str, Any]] = []
    for seed, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True), 1):
        has_medium = seed < len(QUESTIONS)
        text = TAGS[kind] * has_medium + question
        row: dict[str, Any] = {
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        }
        if has_medium:
            name = f"{kind}{seed}.{suffix}"
            write_medium(folder / name, kind, seed)
            row[COLUMNS[kind]] = [{"path": name, "sha256": ""}]
        rows.append(row)
    return rows
