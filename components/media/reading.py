"""From a reference to what a processor takes; the content is what was hashed, or an error."""

import hashlib
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.media.audio import read_audio
from components.media.errors import GoneError, MediaError
from components.media.image import read_image
from components.media.kinds import Medium
from components.media.video import of_frames, read_video

if TYPE_CHECKING:
    from components.config.groups.multimodal import Multimodal

DEFAULT_SAMPLING_RATE = 16_000


def content(medium: Medium, folder: Path) -> bytes:
    """Return the bytes of a medium's file; relative paths are in `folder`.

    Raises:
        GoneError: the file is not there, or its content is another than the reference says.
        MediaError: a data URI that is none.
    """
    if is_data_uri(medium.path):
        return _of_data_uri(medium.path)
    path = folder / medium.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GoneError(f"{path}: {error.strerror or error}") from None
    if medium.sha256 and hashlib.sha256(data).hexdigest() != medium.sha256:
        raise GoneError(f"{path}: the file has changed since it was fetched; run the stage fetch again")
    return data


def read(medium: Medium, folder: Path, settings: "Multimodal", sampling_rate: int = DEFAULT_SAMPLING_RATE) -> Any:
    """Return a medium as a processor takes it: a picture in RGB, a `Video`, or float32 samples [length].

    Args:
        folder: of media whose path is relative.
        settings: sizes and frames.
        sampling_rate: of sounds.

    Raises:
        MediaError: the medium cannot be read; the message names its file.
    """
    if medium.frames:
        import numpy as np

        frames = [np.asarray(read(frame, folder, settings)) for frame in medium.frames]
        return of_frames(frames, settings)
    data = content(medium, folder)
    try:
        if medium.kind == "image":
            return read_image(data, settings.max_pixels)
        return read_video(data, settings) if medium.kind == "video" else read_audio(data, sampling_rate)
    except MediaError as error:
        raise MediaError(f"{name_of(medium, folder)}: {error}") from None


def name_of(medium: Medium, folder: Path) -> str:
    """Return what a medium is called in a message."""
    return f"the {medium.kind} of a data URI" if is_data_uri(medium.path) else str(folder / medium.path)


def is_data_uri(path: str) -> bool:
    """Return whether a medium's path is no path, but its content."""
    return path[:5].lower() == "data:"


def _of_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise MediaError("a data URI must be data:TYPE;base64,DATA")
    try:
        return b64decode(body, validate=True)
    except ValueError:
        raise MediaError("the data of a data URI are no base64") from None
