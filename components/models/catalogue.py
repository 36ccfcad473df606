"""Models that people train, by their ids on the hubs: facts of `catalogue.csv`, and what transformers has.

The file has a row for each id that ms-swift 4.6 registers: family (its `model_type`), both hubs' ids, the class that
reads the weights, modality (guessed from the name), whether the weights are quantized; and the licence where all models
of that name and owner have one. What a class takes beside text, and what to know of it, stands in `multimodal.csv`.
Nothing is made of either: any other model works too if transformers has its class.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from components.models.fitness import known_names


class Media(NamedTuple):
    """What a class takes beside text.

    Attributes:
        model_type: of config.json.
        takes: image, video and audio, as far as it takes them.
        notes: what to know before a training.
    """

    model_type: str
    takes: tuple[str, ...]
    notes: tuple[str, ...]


class Listed(NamedTuple):
    """A model of the list; `architecture` may name several classes, of which one is tried after the other."""

    family: str
    modelscope: str
    huggingface: str
    architecture: str
    modality: str
    quantized: bool
    licence: str

    @property
    def is_native(self) -> bool | None:
        """Whether the installed transformers has the class; None where the class is not known."""
        names = self.architecture.split(";")
        return bool(known_names().intersection(names)) if self.architecture else None

    @property
    def media(self) -> Media | None:
        """What the model takes beside text; None for a model of texts alone."""
        if self.modality == "text":
            return None
        own = (classes()[name] for name in self.architecture.split(";") if name in classes())
        return next(own, Media("", tuple(self.modality.split("+")), ()))


@cache
def classes() -> dict[str, Media]:
    """Return the classes of which more is known than their name."""
    with (Path(__file__).parent / "multimodal.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    found: dict[str, Media] = {}
    for name, model_type, takes, note in rows:
        kinds = tuple(takes.split("+"))
        notes = (note, "needs torchvision" if "video" in kinds else "")
        found[name] = Media(model_type, kinds, tuple(filter(None, notes)))
    return found


@cache
def listed() -> tuple[Listed, ...]:
    """Return all models of the list, by family and id."""
    with (Path(__file__).parent / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        next(file)
        rows = list(csv.reader(file))
    return tuple(
        Listed(family, modelscope, huggingface, architecture, modality, quantized == "yes", licence)
        for family, modelscope, huggingface, architecture, modality, quantized, licence in rows
    )


def search(words: Sequence[str]) -> list[Listed]:
    """Return the models of which id, family, architecture, modality or licence contain every word."""
    lower = [word.lower() for word in words]
    return [model for model in listed() if all(word in " ".join(map(str, model)).lower() for word in lower)]
