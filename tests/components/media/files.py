"""Tiny pictures, videos and sounds, made in code."""

import hashlib
import io
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = tempfile.TemporaryDirectory()
"""Gone when the tests end."""


def reference(content: bytes, suffix: str = ".png") -> dict[str, str]:
    """A file with this content, as a row refers to it."""
    sha = hashlib.sha256(content).hexdigest()
    path = Path(FOLDER.name) / f"{sha[:12]}{suffix}"
    path.write_bytes(content)
    return {"path": str(path), "sha256": sha}


def picture(
    seed: int = 0, size: tuple[int, int] = (24, 16), kind: str = "PNG", mode: str = "RGB", **saved: Any
) -> bytes:
    """A picture of blocks of colour, others for another seed."""
    from PIL import Image

    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert(mode).save(out, kind, **saved)
    return out.getvalue()


def animation(frames: int = 3) -> bytes:
    """A GIF that moves."""
    from PIL import Image

    images = [Image.new("RGB", (16, 16), (80 * i, 0, 0)) for i in range(frames)]
    out = io.BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:])
    return out.getvalue()


def sound(seconds: float = 0.1, channels: int = 1, rate: int = 8000, level: float = 0.3) -> bytes:
    """A WAV file with a tone of some level; 0 is silence, more than 1 is clipped."""
    tone = level * np.sin(np.arange(round(seconds * rate)) * 0.3)
    samples = (np.clip(tone, -1, 1) * 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, channels).tobytes())
    return out.getvalue()


def video(frames: int = 8, size: tuple[int, int] = (32, 32), fps: int = 8, sound: bool = False) -> bytes:
    """An MP4 whose picture grows brighter."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        voice: Any = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for i in range(frames):
            image = np.full((size[1], size[0], 3), i * 255 // frames, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
        if voice:
            tone = (0.3 * np.sin(np.arange(8000) * 0.3)).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(voice.encode(frame))
            container.mux(voice.encode())
    return out.getvalue()
