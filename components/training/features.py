"""Features of media kept on disk from one epoch to the next: a processor works on each row's media once a run."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import sha256_of
from components.media import MediaProcessor, features_of

if TYPE_CHECKING:
    import torch

    from components.training.job import Job

FOLDER = "features"
"""Below the folder of checkpoints. A run removes it at its beginning, as it may be another run's, and at its end."""
MAX_BYTES = 4 * 2**30
"""Of all files of a run. What comes later is worked on again in each epoch."""


class Features:
    """The features of rows' media, in the model's precision.

    Args:
        processor: the model's.
        dtype: of features that are fractions.
        folder: where they are kept, by the content of the media; None to keep none.
    """

    def __init__(self, processor: MediaProcessor, dtype: "torch.dtype", folder: Path | None) -> None:
        self.processor, self.dtype, self.folder = processor, dtype, folder
        self._room: int | None = None

    def of(self, references: list[dict[str, Any]]) -> "dict[str, torch.Tensor]":
        """Return the features of the media of a row.

        Raises:
            MediaError: a medium cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if self.folder is None:
            return self._made(references)
        content = [[one["kind"], one["sha256"], one["frames"], one["placeholder"]] for one in references]
        file = self.folder / f"{sha256_of(content)}.safetensors"
        with suppress(OSError, SafetensorError):  # not there yet, or damaged
            return load_file(file)
        features = self._made(references)
        with suppress(OSError):  # a full disk; the features are there
            self._keep(features, file)
        return features

    def _made(self, references: list[dict[str, Any]]) -> "dict[str, torch.Tensor]":
        return cast(features_of(references, self.processor), self.dtype)

    def _keep(self, features: "dict[str, torch.Tensor]", file: Path) -> None:
        """Write features, unless this process has written its share of `MAX_BYTES`."""
        from safetensors.torch import save_file

        size = sum(value.nbytes for value in features.values())
        if self._room is None:
            self._room = _room(file.parent)
        if size > self._room:
            return
        self._room -= size
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        save_file({name: value.contiguous() for name, value in features.items()}, temporary)
        temporary.replace(file)


def cast(features: "dict[str, torch.Tensor]", dtype: "torch.dtype") -> "dict[str, torch.Tensor]":
    """Return features with those that are fractions in another precision."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in features.items()}


def features_folder(job: "Job") -> Path | None:
    """Return where a job's features are kept, None where no row is seen a second time."""
    rows = job.train.max_steps * job.items_per_step
    if not (rows > len(job.rows) if rows > 0 else job.train.num_train_epochs > 1):
        return None
    return job.checkpoints / FOLDER


def _room(folder: Path) -> int:
    """Return how many bytes a process may add to a folder beside the other workers of its DataLoader."""
    from torch.utils.data import get_worker_info

    folder.mkdir(parents=True, exist_ok=True)
    workers = info.num_workers if (info := get_worker_info()) else 1
    return (MAX_BYTES - sum(file.stat().st_size for file in folder.iterdir())) // workers
