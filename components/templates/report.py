"""The report on tokens (template.json), and the identity of a model's template and tokenizer."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.files import read_json, sha256, sha256_of
from components.templates.chat import ChatTemplate
from components.tokens import tokenizer_sha256

if TYPE_CHECKING:
    import pyarrow as pa


class Part(NamedTuple):
    """The tokens of a row group or of a whole split, and its share of the report.

    Attributes:
        tokens: of a row group.
        rows: how many rows were read.
        counts: as `TokenBatch.counts`.
        lengths: token rows by length.
        structures: samples by structure.
        refused: each with split, source, row, reason and detail.
        backend: the library that encoded.
    """

    tokens: "pa.RecordBatch | None"
    rows: int
    counts: Counter[str]
    lengths: Counter[int]
    structures: Counter[tuple[str, ...]]
    refused: list[dict[str, Any]]
    backend: str

    def plus(self, part: "Part") -> "Part":
        """Return the report on both parts, whose collections are this part's."""
        self.counts.update(part.counts)
        self.lengths.update(part.lengths)
        self.structures.update(part.structures)
        self.refused.extend(part.refused)
        return self._replace(rows=self.rows + part.rows, backend=part.backend)


def describe(chat: ChatTemplate, settings: dict[str, Any], parts: dict[str, Part]) -> dict[str, Any]:
    """Return the report on all splits.

    Args:
        chat: the template and its tokenizer.
        settings: shape, max_length, truncation_strategy and weighted.
        parts: the share of each split.
    """
    refused = [refusal for part in parts.values() for refusal in part.refused]
    structures = sum((part.structures for part in parts.values()), Counter[tuple[str, ...]]())
    return {
        "template_sha256": hashlib.sha256(chat.source.encode()).hexdigest(),
        "tokenizer_sha256": tokenizer_sha256(Path(chat.tokenizer.name_or_path)),
        "tokenizer_backend": parts["train"].backend,
        "system": chat.prompts.system,
        **settings,
        "rows": {split: part.rows for split, part in parts.items()},
        "samples": {split: part.lengths.total() for split, part in parts.items()},
        "learnable_tokens": {split: part.counts["learnable"] for split, part in parts.items()},
        "truncated": {split: part.counts["truncated"] for split, part in parts.items()},
        "cut_answers": {split: part.counts["cut"] for split, part in parts.items()},
        "unlearnable_pieces": {split: part.counts["emptied"] for split, part in parts.items()},
        "refused": refused,
        "reasons": dict(Counter(refusal["reason"] for refusal in refused).most_common()),
        "length_histogram": {split: _histogram(part.lengths) for split, part in parts.items()},
        "parity": {
            "equal": True,  # a difference stops the run
            "with": "apply_chat_template",
            "structures": [
                {"roles": list(roles), "learned_turns": int(learned), "samples": count}
                for (*roles, learned), count in structures.most_common()
            ],
        },
    }


def nothing_to_learn(split: str, file: Path, rows: int, refused: list[dict[str, Any]]) -> str:
    """Return the error for a split whose rows are all refused: every reason with its count and an example."""
    if not rows:
        return f"template: {file} holds no rows"
    lines = [f"template: none of the {rows} rows of {split} can be learned from"]
    for reason, count in Counter(refusal["reason"] for refusal in refused).most_common():
        example = next(refusal for refusal in refused if refusal["reason"] == reason)
        detail = f", {example['detail']}" if example["detail"] else ""
        lines.append(f"{count} x {reason} (for example {example['source']}:{example['row']}{detail})")
    return "\n  ".join(lines)


def _histogram(lengths: Counter[int]) -> list[dict[str, int]]:
    """Return token rows by length, in bins that double: up to 16, 32, 64…"""
    bins: Counter[int] = Counter()
    for length, count in lengths.items():
        bins[max(16, 1 << (length - 1).bit_length())] += count
    return [{"up_to": top, "samples": count} for top, count in sorted(bins.items())]


def identity(folder: Path) -> dict[str, str]:
    """Return hashes of what decides the tokens in a model's folder: the chat template, the tokenizer's files, and the
    files that name the tokens at which the model stops."""
    stops = {n: sha256(folder / n) for n in ("config.json", "generation_config.json") if (folder / n).is_file()}
    return {
        "chat template": _template_sha256(folder),
        "tokenizer": tokenizer_sha256(folder),
        "stop tokens": sha256_of(stops),
    }


def _template_sha256(folder: Path) -> str:
    """Return the hash of the chat template's files, or of the template in tokenizer_config.json."""
    files = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    if hashes := {file.name: sha256(file) for file in files if file.is_file()}:
        return sha256_of(hashes)
    config = folder / "tokenizer_config.json"
    return sha256_of(read_json(config).get("chat_template") if config.is_file() else None)
