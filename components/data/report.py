"""The report of the gate, for programs (`data.json`) and for people (`data.html`)."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.check_list import all_checks, is_active, promise
from components.data.checks._batch import references_of
from components.data.findings import SHOWN
from components.data.gate import Verdict
from components.data.secrets import mask_secrets
from components.files import replacing, write_text
from components.media import COLUMNS, Inspector, Medium
from components.rows import CONVERSATIONS, Row, from_arrow

if TYPE_CHECKING:
    import jinja2

SAMPLES = 4
"""Training rows that the page shows."""
MESSAGE_MAX_CHARS = 600
"""Characters of a sample's message that the page shows."""
THUMBNAILS, THUMBNAIL_PIXELS, ROW_THUMBNAILS = 60, 96, 4
"""Pictures that the page shows beside findings and samples, the pixels of their sides, and pictures of one row."""
LIMITS = {
    "min_rows": "Enough training rows are left.",
    "max_dropped": "Not too large a share was left out.",
    "expectations": "The clean rows keep the contract below.",
}
LANGUAGE_NAMES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ru": "Russian", "ar": "Arabic", "he": "Hebrew",
    "el": "Greek", "hi": "Hindi", "th": "Thai", "vi": "Vietnamese", "tr": "Turkish", "pl": "Polish",
    "unknown": "unknown",
}  # fmt: skip
_BIN_EDGES = (1, 2, 5)
"""Edges of the bins of lengths in each power of ten."""


def write_report(folder: Path, verdict: Verdict) -> None:
    """Write `data.json` and `data.html` into `folder`; equal verdicts give equal bytes.

    `data.json` names every row that was left out or warned of, each on a line of its own.
    """
    document = {
        "verdict": "closed" if verdict.closed else "open",
        "reasons": verdict.reasons,
        "rows": verdict.rows(),
        "checks": verdict.checks,
        "expectations": verdict.expectations,
        "languages": {bar["label"]: bar["count"] for bar in _languages(verdict)},
        "characters": {bar["label"]: bar["count"] for bar in _lengths(verdict)},
        "longer_wins": _longer_wins(verdict),
    }
    with replacing(folder / "data.json") as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False).removesuffix("\n}"))
        for level in ("rejected", "warned"):
            file.write(f',\n  "{level}": [')
            for number, line in enumerate(verdict.findings.lines(level)):
                file.write(("," if number else "") + f"\n    {line}")
            file.write("\n  ]")
        file.write("\n}\n")
    write_text(folder / "data.html", _page(verdict))


def _page(verdict: Verdict) -> str:
    import numpy as np

    sizes = verdict.row_index.size[verdict.row_index.clean]
    pictures = _Pictures(verdict.context.inspector)
    page = _template().render(
        verdict=verdict,
        total=verdict.row_index.total,
        rows=verdict.rows(),
        helps={name: promise(check) for name, check in all_checks().items()} | LIMITS,
        left_out={name: verdict.findings.counts["rejected", name] for name in all_checks()},
        sources=_by_source(verdict),
        lengths=_lengths(verdict),
        languages=_languages(verdict),
        longer_wins=_longer_wins(verdict),
        median=int(np.median(sizes)) if len(sizes) else 0,
        pictures=pictures,
        rejected=_grouped(verdict, "rejected"),
        warned=_grouped(verdict, "warned"),
        warnings=verdict.findings.count("warned"),
        samples=_samples(verdict),
        short=_short,
    )
    pictures.close()
    return page


@cache
def _template() -> "jinja2.Template":
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    return environment.from_string((Path(__file__).parent / "report.html.jinja").read_text(encoding="utf-8"))


def _by_source(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the rows of each source: in training, in validation, left out; the largest source first."""
    import numpy as np

    rows, count = verdict.row_index, len(verdict.row_index.sources)
    counts = {
        split: np.bincount(rows.source[rows.of(split)][rows.clean[rows.of(split)]], minlength=count)
        for split in ("train", "val")
    }
    counts["dropped"] = np.bincount(rows.source[~rows.clean], minlength=count)
    sources = [
        {"name": name, **{split: int(column[i]) for split, column in counts.items()}}
        for i, name in enumerate(rows.sources)
    ]
    return sorted(sources, key=lambda source: (-source["train"] - source["val"] - source["dropped"], source["name"]))


def _lengths(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the clean rows by characters, in bins from 1, 2, 5, 10, 20, 50 … on; the highest bar has the share 1."""
    import numpy as np

    sizes = verdict.row_index.size[verdict.row_index.clean]
    if not len(sizes):
        return []
    edges = [0]
    while edges[-1] <= sizes.max():
        edges.append(_BIN_EDGES[(len(edges) - 1) % 3] * 10 ** ((len(edges) - 1) // 3))
    counts = np.histogram(sizes, edges)[0]
    present = np.flatnonzero(counts)
    return [_bar(f"{edges[i]:,}", counts[i], counts.max()) for i in range(present[0], present[-1] + 1)]


def _languages(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the clean rows by language, the commonest first; no bar where languages are not guessed."""
    import numpy as np

    if not is_active("language", verdict.context):
        return []
    rows = verdict.row_index
    counts = np.bincount(rows.language[rows.clean], minlength=len(rows.languages))
    bars = sorted((-int(count), code) for count, code in zip(counts, rows.languages, strict=True) if count)
    return [_bar(LANGUAGE_NAMES.get(code, code), -count, counts.sum()) for count, code in bars]


def _longer_wins(verdict: Verdict) -> float | None:
    """Return the share of the clean pairs in which the chosen answer is the longer one, of those whose answers differ
    in length; None where there are no such pairs."""
    longer = verdict.row_index.longer[verdict.row_index.clean]
    decided = longer[longer != 0]
    return float((decided > 0).mean()) if len(decided) else None


def _bar(label: str, count: Any, whole: Any) -> dict[str, Any]:
    return {"label": label, "count": int(count), "share": float(count / whole)}


def _short(count: int) -> str:
    """Return a count in at most four figures: 1,234 or 12k."""
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"


def _grouped(verdict: Verdict, level: str) -> list[dict[str, Any]]:
    """Return the findings of a level on the page, check by check: `SHOWN` in all, with a fair part for each check."""
    findings = {check: shown for (other, check), shown in verdict.findings.shown.items() if other == level}
    part = max(5, SHOWN // max(1, len(findings)))
    counts = verdict.findings.counts
    names = [name for name in all_checks() if name in findings]
    return [
        {"check": name, "count": counts[level, name], "shown": shown, "size": len(shown)}
        for name, shown in ((name, findings[name][:part]) for name in names)
    ]


def _samples(verdict: Verdict) -> list[dict[str, Any]]:
    """Return a few training rows, evenly spaced: their places, and their messages."""
    import numpy as np

    train = verdict.row_index.of("train")
    clean = np.flatnonzero(verdict.row_index.clean[train])
    chosen = clean[:: max(1, len(clean) // SAMPLES)][:SAMPLES].tolist()
    samples, start = [], 0
    for batch in verdict.batches("train") if chosen else ():
        places = np.searchsorted(clean, chosen) - start
        start += batch.num_rows
        for place in places[(places >= 0) & (places < batch.num_rows)].tolist():
            (row,) = from_arrow(batch.slice(place, 1))
            index = chosen[len(samples)]
            media = [one.medium for kind, name in COLUMNS.items() for one in references_of(kind, row.get(name) or ())]
            samples.append({"where": verdict.row_index.where(index), "turns": _messages(row), "media": media})
    return samples


class _Pictures:
    """Small pictures of media as data URLs, `THUMBNAILS` in all."""

    def __init__(self, inspector: Inspector | None) -> None:
        self.inspector, self.made = inspector, dict[tuple[str, str], str]()

    def __call__(self, media: list[Medium]) -> list[str]:
        """Return pictures of the first media of a row that can be seen."""
        seen = [medium for medium in media if medium.kind != "audio" and medium.sha256][:ROW_THUMBNAILS]
        return [picture for medium in seen if (picture := self._of(medium))]

    def close(self) -> None:
        """End the processes that read."""
        if self.inspector:
            self.inspector.close()

    def _of(self, medium: Medium) -> str:
        key = medium.kind, medium.sha256
        if key not in self.made and self.inspector and len(self.made) < THUMBNAILS:
            self.made[key] = self.inspector.thumbnail(medium, THUMBNAIL_PIXELS)
        return self.made.get(key, "")


def _messages(row: Row) -> "list[tuple[str, str]]":
    """Return role and text of each message, shortened and without secrets."""
    messages: list[tuple[str, str]] = []
    for name in CONVERSATIONS:
        for message in row.get(name) or ():
            role = message["role"] if name in ("messages", "prompt") else name
            calls = json.dumps(message["tool_calls"], ensure_ascii=False) if message.get("tool_calls") else ""
            messages.append((role, "\n".join(part for part in (message.get("content"), calls) if part)))
    messages += [("text", row["text"])] if "text" in row else []
    return [(role, _shortened(mask_secrets(text[: 4 * MESSAGE_MAX_CHARS]))) for role, text in messages]


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_MAX_CHARS else f"{text[:MESSAGE_MAX_CHARS]}…"
