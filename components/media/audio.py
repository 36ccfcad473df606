"""Sounds, read and resampled by PyAV."""

from itertools import chain
from typing import TYPE_CHECKING, Any

from components.media.errors import MediaError
from components.media.video import library, open_container

if TYPE_CHECKING:
    import numpy as np


SAMPLES = "flt"
"""Packed float32 samples: with planar ones `to_ndarray` of PyAV 18.1 ends the process from eight channels on. No
release without the bug is known."""


def by_channel(frame: Any) -> "np.ndarray":
    """Return the samples of a frame in the format `SAMPLES` as [channels, samples]."""
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


def read_audio(data: bytes, sampling_rate: int) -> "np.ndarray":
    """Return a sound, or a video's sound track, as float32 [samples] of -1 to 1: the mean of its channels.

    Args:
        sampling_rate: samples a second.

    Raises:
        MediaError: the data are no sound, or one without samples.
        ConfigError: PyAV is not installed.
    """
    import numpy as np

    av = library()
    parts: list[np.ndarray] = []
    try:
        with open_container(data) as container:
            if not container.streams.audio:
                raise MediaError("there is no sound in the file")
            resampler = av.AudioResampler(format=SAMPLES, rate=sampling_rate)  # type: ignore[attr-defined]
            for frame in chain(container.decode(container.streams.audio[0]), [None]):
                parts += [by_channel(part).mean(0) for part in resampler.resample(frame)]
    except MediaError:
        if not parts:
            raise
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(samples):
        raise MediaError("the sound has no samples")
    return samples.astype(np.float32, copy=False)
