"""Batches with media: beside the tokens, what a model's own processor makes of pictures, videos and sounds."""

from typing import TYPE_CHECKING, Any

from components.errors import MartletError
from components.media import MediaError, first_with_media, joined, model_inputs
from components.tokens import IGNORED, TokenRow, TokenRows
from components.training.features import Features, cast
from components.training.proofs import answers

if TYPE_CHECKING:
    import torch

    from components.training.job import Job

PREFIX = "media."
"""Begins the names of a batch's tensors that only the model takes: features of media, and kinds of tokens."""


class UnusableMediumError(MartletError):
    """A medium of the rows cannot be read.

    The process that makes batches hands an error over as a text: a traceback, which ends with the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.strip().rpartition(f"{type(self).__name__}: ")[2])


class WithMedia:
    """A collator of rows with media: the tensors of `collate`, and with `PREFIX` before their names the features of all
    media and what the processor says of each token (`mm_token_type_ids`), padded with 0.

    Args:
        collate: makes a line of each row.
        features: of the media of a row.
        spare: a row with media whose tokens are added as a line, with nothing to learn, to a batch without media:
            processes that share a model must all pass its towers.
    """

    def __init__(self, collate: Any, features: Features, spare: TokenRow | None = None) -> None:
        self.collate, self.features, self.spare = collate, features, spare

    def __call__(self, rows: list[TokenRow]) -> "dict[str, torch.Tensor]":
        if self.spare and not any(row.get("media") for row in rows):
            rows = [*rows, _not_learned(self.spare, rows[0])]
        lines = [{name: value for name, value in row.items() if name != "media"} for row in rows]
        inputs = self._types(lines) | self._features(rows)
        return {**self.collate(lines), **{PREFIX + name: tensor for name, tensor in inputs.items()}}

    def _features(self, rows: list[TokenRow]) -> "dict[str, torch.Tensor]":
        references = {str(row["media"]): row["media"] for row in rows if row.get("media")}
        features = {key: self._of_row(media) for key, media in references.items()}  # answers to a prompt share them
        return joined([features[str(row["media"])] for row in rows if row.get("media")], self.features.processor.name)

    def _of_row(self, references: list[dict[str, Any]]) -> "dict[str, torch.Tensor]":
        try:
            return self.features.of(references)
        except MediaError as error:
            raise UnusableMediumError(f"train: a medium of the rows cannot be used: {error}") from None

    def _types(self, lines: list[TokenRow]) -> "dict[str, torch.Tensor]":
        import torch

        ids = [line["input_ids"].tolist() for line in lines]
        learned = [(line["labels"] != IGNORED).tolist() if "labels" in line else [] for line in lines]
        longest = max(map(len, ids))
        return {
            name: torch.tensor([[*row, *[0] * (longest - len(row))] for row in values])
            for name, values in self.features.processor.types(ids, learned).items()
        }


def own_media(row: TokenRow) -> TokenRow:
    """Return the column `media` of a row, {} where it has none."""
    return {"media": row["media"]} if "media" in row else {}


def media_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a batch has of media, under the names that the model takes."""
    return {name.removeprefix(PREFIX): value for name, value in inputs.items() if name.startswith(PREFIX)}


def _not_learned(spare: TokenRow, other: TokenRow) -> TokenRow:
    """Return a row's tokens with the fields of another row, and nothing to learn."""
    import numpy as np

    size = len(spare["input_ids"])
    fields = {name: np.zeros(size, value.dtype) for name, value in other.items() if isinstance(value, np.ndarray)}
    return {**fields, **spare, "labels": np.full(size, IGNORED)}


def media_probe(job: "Job") -> "dict[str, torch.Tensor] | None":
    """Return the inputs of a model for the first row with media, None where there is none."""
    if job.processor is None or (row := first_with_media(table(job))) is None:
        return None
    try:
        return cast(model_inputs(row, job.processor), job.model.dtype)
    except MediaError as error:
        raise UnusableMediumError(f"train: a medium of the rows cannot be used: {error}") from None


def table(job: "Job") -> TokenRows:
    """Return the token file that a job trains on."""
    return getattr(job.rows, "rows", job.rows)


def check_media(job: "Job") -> None:
    """Check that the logits of a row depend on its media.

    Raises:
        MartletError: they stay the same whatever the features are: a projector of zeros, or a closed gate.
    """
    import torch

    if (probe := media_probe(job)) is None:
        return
    noise = torch.Generator().manual_seed(0)
    changed = {
        name: torch.randn(value.shape, generator=noise).to(value) if value.is_floating_point() else value
        for name, value in probe.items()
    }
    was_training = job.model.training
    logits = [answer[0, -1] for answer in answers(job.model, [probe, changed])]
    job.model.train(was_training)
    if torch.equal(*logits):
        raise MartletError(
            "the model does not look at the rows' media: its answer is the same whatever they show; its projector or "
            "a gate may be all zeros, as in a model that was never trained on media"
        )
