"""Videos, read by PyAV: frames at even distances."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from components.errors import ConfigError
from components.media.errors import MediaError
from components.media.image import MAX_PIXELS, scaled_down

if TYPE_CHECKING:
    import numpy as np

    from components.config.groups.multimodal import Multimodal


class Video(NamedTuple):
    """Frames of a video, and where they stand in it.

    Attributes:
        frames: uint8 [frames, height, width, 3].
        indices: the number of each frame in the video.
        fps: frames a second of the video, not of what was taken of it.
        total: frames of the video.
    """

    frames: "np.ndarray"
    indices: list[int]
    fps: float
    total: int

    @property
    def seconds(self) -> float:
        """The length of the video."""
        return self.total / self.fps


def library() -> object:
    """Return PyAV.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise ConfigError("videos and sounds need PyAV: pip install 'martlet[multimodal]'") from None
    return av


FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,gif,apng,ogg,wav,w64,mp3,flac,aac,aiff,au,"
    "caf,amr,ac3,m4v,wv"
)
"""FFmpeg's formats that are read; it has others, which open the files or addresses that they name."""


@contextmanager
def open_container(data: bytes) -> "Generator[Any]":
    """Open a video or a sound with PyAV.

    Raises:
        MediaError: the data are none, also where that is found out only while they are read.
        ConfigError: PyAV is not installed.
    """
    av = library()
    if not data:
        raise MediaError("the file is empty")
    try:
        with av.open(io.BytesIO(data), options={"format_whitelist": FORMATS}) as container:  # type: ignore[attr-defined]
            yield container
    except av.FFmpegError as error:  # type: ignore[attr-defined]
        raise MediaError(f"not a video or a sound that can be decoded ({error.strerror})") from None


def frame_indices(total: int, fps: float, settings: "Multimodal") -> list[int]:
    """Return which frames of a video are taken: `nframes`, or `fps` for each second within `fps_min_frames` and
    `fps_max_frames`, at even distances; an even number, as Qwen's models merge two by two, unless there is but one."""
    import numpy as np

    count = settings.nframes or round(total / fps * settings.fps)
    if not settings.nframes:
        count = min(max(count, settings.fps_min_frames), settings.fps_max_frames)
    count = min(count, total)
    count -= count % 2 if count > 1 else 0
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def read_video(data: bytes, settings: "Multimodal") -> Video:
    """Return frames of a video, as `frame_indices` chooses them, each of at most `video_max_pixels`.

    Raises:
        MediaError: the data are no video, have no frames, or frames of too many pixels.
        ConfigError: PyAV is not installed.
    """
    import numpy as np

    with open_container(data) as container:
        stream = video_stream(container)
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        total = sum(packet.size > 0 for packet in container.demux(stream))
        if not total:
            raise MediaError("the video has no frames")
        wanted = frame_indices(total, fps, settings)
        container.seek(0, stream=stream)
        frames = _decoded(container, stream, set(wanted), settings.video_max_pixels)
    if not frames:
        raise MediaError("no frame of the video can be decoded")
    last = max(frames)  # a truncated file ends before its header says
    indices = [min(index, last) for index in wanted]
    return Video(np.stack([frames[index] for index in indices]), indices, fps, total)


def video_stream(container: Any) -> Any:
    """Return the stream of pictures of a container.

    Raises:
        MediaError: there is none, or its frames have too many pixels.
    """
    stream = next((s for s in container.streams.video if not s.disposition & s.disposition.attached_pic), None)
    if stream is None:
        raise MediaError("there is no video stream in the file")
    if stream.width * stream.height > MAX_PIXELS:
        raise MediaError(f"frames of {stream.width} x {stream.height} pixels: taken for a decompression bomb")
    return stream


def _decoded(container, stream, wanted: set[int], max_pixels: int | None) -> "dict[int, np.ndarray]":  # type: ignore[no-untyped-def]
    """Return the wanted frames, and the last one that can be decoded, by their numbers."""
    import numpy as np

    av, frames, last = library(), {}, None
    stream.thread_type = "AUTO"
    number = -1
    try:
        for number, frame in enumerate(container.decode(stream)):
            last = frame
            if number in wanted:
                frames[number] = _pixels(frame, max_pixels)
    except av.FFmpegError:  # type: ignore[attr-defined]
        pass  # what could be decoded is there
    if last is not None and any(index > number for index in wanted):
        frames[number] = _pixels(last, max_pixels)
    return {index: np.ascontiguousarray(frame) for index, frame in frames.items()}


def _pixels(frame, max_pixels: int | None) -> "np.ndarray":  # type: ignore[no-untyped-def]
    """Return a frame, upright, as uint8 [height, width, 3]."""
    import numpy as np

    image = scaled_down(frame.to_image(), max_pixels)
    return np.rot90(np.asarray(image), frame.rotation // 90)


def of_frames(images: "list[np.ndarray]", settings: "Multimodal") -> Video:
    """Return a video of pictures [height, width, 3], which are taken for `settings.fps` frames a second.

    Raises:
        MediaError: the pictures are of different sizes.
    """
    import numpy as np

    if len({image.shape for image in images}) > 1:
        raise MediaError("the frames of the video are of different sizes")
    return Video(np.stack(images), list(range(len(images))), settings.fps, len(images))
