"""Facts of a medium: what a check of the data wants to know, from opening its file once."""

import io
from base64 import b64encode
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.media.audio import SAMPLES, by_channel
from components.media.errors import MediaError
from components.media.image import ORIENTATION, TURNED, open_image, read_image
from components.media.kinds import Medium
from components.media.reading import content
from components.media.sniffing import kind_of, suffix_of
from components.media.video import open_container, video_stream

if TYPE_CHECKING:
    from PIL.Image import Image

LEVEL_SECONDS = 600
"""Seconds of a sound whose level is measured."""
CLIPPED = 0.9999
LOOK_SIZE = 8
"""Rows and columns of the differences that a picture's look is made of."""
_NAMES = {"image": "a picture", "video": "a video", "audio": "a sound"}


class Facts(NamedTuple):
    """What a file holds; numbers that its kind does not have are 0.

    Attributes:
        missing: why there is no such file any more, or "".
        error: why it cannot be read as its kind, or "".
        format: Pillow's or FFmpeg's name of the format.
        suffix: that files like this one have, or "".
        frames: pictures of an animation, or of a video.
        rotated: the EXIF turns the picture.
        peak: the largest sample, from 0 to 1.
        clipped: the share of samples at the limit.
        look: 64 bits that similar pictures share (dHash), or 0 for a picture that shows next to nothing.
    """

    missing: str = ""
    error: str = ""
    format: str = ""
    suffix: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    rotated: bool = False
    frames: int = 0
    seconds: float = 0.0
    channels: int = 0
    peak: float = 0.0
    clipped: float = 0.0
    look: int = 0


def facts_of(medium: Medium, folder: Path) -> Facts:
    """Return the facts of a medium that is one file; relative paths are in `folder`.

    Raises:
        ConfigError: PyAV is not installed.
    """
    try:
        data = content(medium, folder)
    except MediaError as error:
        return Facts(missing=str(error).removeprefix(f"{folder / medium.path}: "))
    suffix = suffix_of(data)
    try:
        _refuse_another_kind(medium.kind, suffix)
        read = {"image": _of_image, "video": _of_video, "audio": _of_audio}[medium.kind]
        return read(data)._replace(suffix=suffix)
    except MediaError as error:
        return Facts(error=str(error), suffix=suffix)


def thumbnail(medium: Medium, folder: Path, size: int) -> str:
    """Return a picture, or the first frame of a video, as a data URL of a JPEG of at most `size` pixels a side; "" for
    what cannot be seen."""
    try:
        data = content(medium, folder)
        image = read_image(data) if medium.kind == "image" else _first_frame(data)
    except MediaError:
        return ""
    image.thumbnail((size, size))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"


def _refuse_another_kind(kind: str, suffix: str) -> None:
    other = kind_of(f"x{suffix}")
    moving = suffix in (".gif", ".ogg")  # may be a video
    sounding = kind == "audio" and other == "video"  # its sound track
    if other and other != kind and not moving and not sounding:
        raise MediaError(f"{_NAMES[other]} ({suffix}), not {_NAMES[kind]}")


def _of_image(data: bytes) -> Facts:
    image = open_image(data)
    name, mode = image.format or "", image.mode
    try:
        frames = getattr(image, "n_frames", 1) if getattr(image, "is_animated", False) else 1
        orientation = image.getexif().get(ORIENTATION, 1)
        width, height = reversed(image.size) if orientation in TURNED else image.size
        image.draft("L", (LOOK_SIZE * 8, LOOK_SIZE * 8))  # the decoder of JPEG shrinks: the rest is the same, but fast
        image.load()
        look = _look(image)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, MemoryError) as error:
        raise MediaError(f"a truncated or damaged picture ({error})") from None
    return Facts("", "", name, "", width, height, mode, orientation not in (0, 1), frames, look=look)


def _look(image: "Image") -> int:
    """Return the dHash of a picture: one bit for each place that is brighter than the one on its left."""
    import numpy as np

    small = np.asarray(image.convert("L").resize((LOOK_SIZE + 1, LOOK_SIZE)), np.int16)
    bits = np.packbits(np.diff(small, axis=1) > 0)
    return int.from_bytes(bits.tobytes(), "big") if small.std() > 1 else 0


def _of_video(data: bytes) -> Facts:
    with open_container(data) as container:
        stream = video_stream(container)
        rate, announced = float(stream.average_rate or stream.guessed_rate or 25), stream.frames
        frames = sum(packet.size > 0 for packet in container.demux(stream))
    if not frames:
        raise MediaError("the video has no frames")
    if announced and frames < announced:
        raise MediaError(f"a truncated video: {frames} of {announced} frames are there")
    image = _first_frame(data)
    return Facts("", "", container.format.name, "", *image.size, frames=frames, seconds=frames / rate)


def _first_frame(data: bytes) -> "Image":
    with open_container(data) as container:
        for frame in container.decode(video_stream(container)):
            return frame.to_image()
    raise MediaError("no frame of the video can be decoded")


def _of_audio(data: bytes) -> Facts:
    import av
    import numpy as np

    peak, clipped, samples = 0.0, 0, 0
    with open_container(data) as container:
        if not container.streams.audio:
            raise MediaError("there is no sound in the file")
        stream = container.streams.audio[0]
        length = float(container.duration or 0) / av.time_base
        rate, channels = stream.rate or 1, stream.channels or 1
        resampler = av.AudioResampler(format=SAMPLES)
        for frame in chain(container.decode(stream), [None]):
            for part in resampler.resample(frame):
                level = np.abs(by_channel(part))
                samples += level.shape[1]
                peak, clipped = max(peak, float(level.max(initial=0))), clipped + int((level.max(0) >= CLIPPED).sum())
            if length and samples > LEVEL_SECONDS * rate:
                break
    if not samples:
        raise MediaError("the sound has no samples")
    seconds = max(length, samples / rate)
    return Facts(format=container.format.name, seconds=seconds, channels=channels, peak=peak, clipped=clipped / samples)
