"""List models that people train, whose id, family or architecture contains every word.

  martlet models                    all of them
  martlet models qwen3 awq          search
  martlet models qwen2.5-vl         and what it takes beside text
  martlet models llama --json       all fields of these, as JSON

Other models work too, by hub id or folder, if transformers has their class.
"""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apps.cli.listing import console, suggestions
from components.errors import ConfigError

if TYPE_CHECKING:
    from components.models.catalogue import Listed

PARAMETERS = ()
LOADS = {True: "yes", False: "own code", None: ""}
"""Whether transformers loads a model by itself; the others need code from the model's folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", help="words in ids, families, architectures, modalities or licences")
    parser.add_argument("--json", action="store_true", help="print JSON with all fields")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.models import catalogue

    models = catalogue.search(arguments.words)
    if not models:
        raise ConfigError(_no_match(arguments.words, catalogue.listed()))
    if arguments.json:
        print(json.dumps([model._asdict() | {"native": model.is_native} | _media(model) for model in models], indent=2))
    else:
        _table(models)
        if arguments.words:
            _notes(models)


def _media(model: "Listed") -> dict[str, Any]:
    """Return what a model takes beside text, how its answers have boxes, and what to know of it; nothing of a model of
    texts alone."""
    if not model.media:
        return {}
    from components.templates import Grounding

    style = Grounding(model.media.model_type).style if "image" in model.media.takes else None
    pixels = "pixels of the resized picture"
    boxes = style and {
        "coordinates": "thousandths of the sides" if style.norm_bbox == "norm1000" else pixels,
        "reference": style.reference.format(ref="NAME"),
        "box": style.box.format(points="(x,y),(x,y)", list="[x, y, x, y]", locations="<loc_x><loc_y>" * 2),
    }
    return {"takes": [*model.media.takes], "boxes": boxes, "notes": [*model.media.notes]}


def _notes(models: Sequence["Listed"]) -> None:
    """Print what each family of models that take media should be known for."""
    for family, media in {model.family: _media(model) for model in models}.items():
        if media:
            print(f"\n{family}: takes text, {', '.join(media['takes'])}")
            for name, value in (media["boxes"] or {}).items():
                print(f"  {name:<12} {value}")
            for note in media["notes"]:
                print(f"  {note}")


def _no_match(words: Sequence[str], models: Sequence["Listed"]) -> str:
    """Return the message for a search without a result, with the nearest id or family for each word."""
    names = {name.lower() for model in models for name in (model.family, model.modelscope.rpartition("/")[2])}
    return (
        f"no listed model has all of: {' '.join(words)}; {suggestions(words, names)}`martlet models` lists them, and "
        "any other that transformers loads works too"
    )


def _table(models: Sequence["Listed"]) -> None:
    """Print one line per model, two in a narrow terminal, so that ids stay whole."""
    from rich.table import Table
    from rich.text import Text

    screen = console(190)
    wide = screen.width >= 160
    table = Table(box=None, pad_edge=False, caption=f"{len(models)} models", caption_justify="left")
    table.add_column("id" if wide else "id, family, architecture", overflow="fold")
    for name in ("family", "architecture") if wide else ():
        table.add_column(name, overflow="fold")
    table.add_column("modality", no_wrap=True)
    table.add_column("loads", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for model in models:
        about = (model.family, model.architecture.replace(";", " or "))
        first = (
            (model.modelscope, *about)
            if wide
            else (Text.assemble(model.modelscope, "\n  ", (", ".join(about), "dim")),)
        )
        modality = "+".join(model.media.takes) if model.media else model.modality
        table.add_row(*first, modality, LOADS[model.is_native], model.licence)
    screen.print(table)
