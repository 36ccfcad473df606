"""Limits of the media of one prompt, for media that strangers send."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.media.errors import MediaError
from components.media.image import open_image
from components.media.kinds import Medium
from components.media.reading import content, name_of
from components.media.video import frame_indices, open_container, video_stream

if TYPE_CHECKING:
    from components.config.groups.multimodal import Multimodal


class Limits(NamedTuple):
    """What all media of one prompt may have together: pixels of pictures and of a video's frames, and seconds."""

    pixels: int
    seconds: float

    def require(self, media: Sequence[Medium], folder: Path, settings: "Multimodal") -> None:
        """Check media before they are decoded; relative paths are in `folder`.

        Raises:
            MediaError: they have more; or one cannot be read.
        """
        pixels, seconds = 0, 0.0
        for medium in media:
            data = content(medium, folder)
            try:
                more = _measured(medium.kind, data, settings, self.seconds - seconds)
            except MediaError as error:
                raise MediaError(f"{name_of(medium, folder)}: {error}") from None
            pixels, seconds = pixels + more[0], seconds + more[1]
            if pixels > self.pixels:
                raise MediaError(f"media of more than {self.pixels:,} pixels together")
            if seconds > self.seconds:
                raise MediaError(f"videos and sounds of more than {self.seconds:g} seconds together")


def _measured(kind: str, data: bytes, settings: "Multimodal", most: float) -> tuple[int, float]:
    """Return the pixels and the seconds of a medium; a sound is measured up to `most` seconds."""
    if kind == "audio":
        return 0, _of_audio(data, most)
    if kind == "video":
        return _of_video(data, settings)
    image = open_image(data)
    return image.width * image.height, 0.0


def _of_video(data: bytes, settings: "Multimodal") -> tuple[int, float]:
    """Return the pixels of the frames that are taken from a video, and its seconds."""
    with open_container(data) as container:
        stream = video_stream(container)
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        total = sum(packet.size > 0 for packet in container.demux(stream))
    size = stream.width * stream.height
    # a frame is decoded whole, and only then scaled down
    return size + len(frame_indices(total, fps, settings)) * min(size, settings.video_max_pixels or size), total / fps


def _of_audio(data: bytes, most: float) -> float:
    """Return the seconds of a sound, from its samples: a header may say less. Counting ends above `most`."""
    seconds = 0.0
    with open_container(data) as container:
        for frame in container.decode(container.streams.audio[0]) if container.streams.audio else ():
            seconds += frame.samples / frame.sample_rate
            if seconds > most:
                break
    return seconds
