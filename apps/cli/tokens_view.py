"""Rows as tokens, the learned ones marked: on a terminal, as an HTML page, and as JSON."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.files import write_text
from components.tokens import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tasks.looking import Looked, Sample

MAX_TOKENS_PER_CHARACTER = 4
"""UTF-8 has at most four bytes in a character, and a token has at least one byte."""

MOST_EQUAL = 3
"""Equal pieces in a row that are shown one by one."""


class Piece(NamedTuple):
    """The fewest tokens that decode to whole characters: their text, their ids, and their weight in the loss."""

    text: str
    ids: list[int]
    weight: float


def pieces(tokenizer: "PreTrainedTokenizerBase", sample: "Sample") -> list[Piece]:
    """Return the sample as pieces, in order."""
    result: list[Piece] = []
    ids: list[int] = []
    last = len(sample.input_ids) - 1
    for n, (i, label, weight) in enumerate(zip(sample.input_ids, sample.labels, sample.weights, strict=True)):
        ids.append(i)
        text = _decoded(tokenizer, ids)
        if "\ufffd" not in text or n == last or len(ids) == MAX_TOKENS_PER_CHARACTER:
            result.append(Piece(text, ids, weight if label != IGNORED else 0.0))
            ids = []
    return [piece for _, run in groupby(result, lambda piece: (piece.text, piece.weight)) for piece in _short([*run])]


def _short(run: list[Piece]) -> list[Piece]:
    """Return equal pieces, as one where they are many and not learned, as the tokens of a picture are."""
    first = run[0]
    if len(run) <= MOST_EQUAL or first.weight:
        return run
    return [Piece(f"{first.text}×{len(run)}", [i for piece in run for i in piece.ids], first.weight)]


def as_json(tokenizer: "PreTrainedTokenizerBase", row: "Looked") -> str:
    """Return the row as one line of JSON."""
    import orjson

    fields: dict[str, Any] = {"source": row.source, "row": row.row}
    if row.refused:
        return orjson.dumps(fields | {"refused": row.refused}).decode()
    for name in dict.fromkeys(sample.name for sample in row.samples):
        tokens = _token_fields(tokenizer, [sample for sample in row.samples if sample.name == name])
        fields |= {name: tokens} if name else tokens
    return orjson.dumps(fields).decode()


def _token_fields(tokenizer: "PreTrainedTokenizerBase", samples: "list[Sample]") -> dict[str, Any]:
    fields = {
        "input_ids": [i for sample in samples for i in sample.input_ids],
        "labels": [label for sample in samples for label in sample.labels],
        "supervised": [_decoded(tokenizer, ids) for sample in samples for ids in _learned(sample)],
        "lengths": [len(sample.input_ids) for sample in samples],
    }
    weights = [weight for sample in samples for weight in sample.weights]
    return fields | ({} if set(weights) <= {0.0, 1.0} else {"loss_scale": weights})


def _learned(sample: "Sample") -> list[list[int]]:
    """Return the runs of learned tokens."""
    runs: list[list[int]] = []
    before = IGNORED
    for label in sample.labels:
        if label != IGNORED:
            if before == IGNORED:
                runs.append([])
            runs[-1].append(label)
        before = label
    return runs


def _decoded(tokenizer: "PreTrainedTokenizerBase", ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _heading(row: "Looked", sample: "Sample", number: int) -> str:
    learned = f"{sum(label != IGNORED for label in sample.labels)} learned"
    content = learned if sample.target is None else sample.target
    which = f" {sample.name}" if sample.name else f", sample {number} of {len(row.samples)}" * (len(row.samples) > 1)
    return f"{row.source}:{row.row}{which}: {len(sample.input_ids)} tokens" + (f", {content}" if content else "")


def _colour(weight: float) -> str:
    return "dim" if not weight else "green" if weight == 1 else "yellow"


def write_terminal(tokenizer: "PreTrainedTokenizerBase", rows: "Iterable[Looked]") -> None:
    """Print rows: learned tokens in green, or in yellow if their weight is not 1, and what is told of a sequence whose
    tokens are not learned; every second token is underlined."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    has_learned = False
    for row in rows:
        if row.refused:
            console.print(Text(f"{row.source}:{row.row}: refused: {row.refused}\n", "red"), soft_wrap=True)
        for number, sample in enumerate(row.samples, 1):
            console.print(Text(_heading(row, sample, number), "bold"))
            has_learned |= sample.target is None
            text, before = Text(), 0.0
            for n, piece in enumerate(pieces(tokenizer, sample)):
                if not console.is_terminal and bool(piece.weight) != bool(before):
                    text.append("⟦" if piece.weight else "⟧")
                colour = _colour(piece.weight) if sample.target is None else "default"
                text.append(piece.text, f"{colour} underline" if n % 2 else colour)
                before = piece.weight
            text.append("⟧" if before and not console.is_terminal else "")
            console.print(text, soft_wrap=True)
            if weights := sorted({w for w in sample.weights if w not in (0.0, 1.0)}):
                console.print(Text(f"amber: weight {', '.join(f'{w:g}' for w in weights)}", "yellow"))
            console.print()
    if not has_learned:
        return
    legend = "green: learned; dim: not learned; every second token is underlined"
    console.print(Text(legend if console.is_terminal else "⟦ ⟧: learned", "dim"))


def write_page(path: Path, tokenizer: "PreTrainedTokenizerBase", rows: "Iterable[Looked]") -> int:
    """Write one self-contained HTML page; return the number of rows on the page."""
    from jinja2 import Environment, PackageLoader

    page_rows = [
        {
            "refused": f"{row.source}:{row.row}: {row.refused}" if row.refused else "",
            "samples": [
                {"heading": _heading(row, sample, n), "pieces": pieces(tokenizer, sample)}
                for n, sample in enumerate(row.samples, 1)
            ],
        }
        for row in rows
    ]
    page = Environment(loader=PackageLoader("apps.cli"), autoescape=True).get_template("tokens.html.jinja")
    write_text(path, page.render(rows=page_rows))
    return len(page_rows)
