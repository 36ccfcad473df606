"""What the gate found, for programs (`data.json`) and for people (`data.html`)."""

import json
from pathlib import Path
from typing import Any

from components.data.checks import checks, language, promise
from components.data.findings import SHOWN
from components.data.gate import Verdict
from components.data.secrets import masked
from components.files import replacing, write_text
from components.rows import CONVERSATIONS, Row, from_arrow

SAMPLES = 4
CUT = 600
"""Characters of a sample's message that the page shows."""
LIMITS = {
    "min_rows": "Enough training rows are left.",
    "max_dropped": "Not too large a share was left out.",
    "expectations": "The clean rows keep the contract below.",
}
LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ru": "Cyrillic script", "ar": "Arabic script",
    "he": "Hebrew", "el": "Greek", "hi": "Devanagari", "th": "Thai", "latin": "Latin script", "unknown": "no words",
}  # fmt: skip
_EDGES = (1, 2, 5)


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
    import jinja2
    import numpy as np

    template = (Path(__file__).parent / "report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    sizes = verdict.roster.size[verdict.roster.alive]
    return environment.from_string(template).render(
        verdict=verdict,
        total=verdict.roster.total,
        rows=verdict.rows(),
        helps={name: promise(check) for name, check in checks().items()} | LIMITS,
        left_out={name: verdict.findings.counts["rejected", name] for name in checks()},
        sources=_by_source(verdict),
        lengths=_lengths(verdict),
        languages=_languages(verdict),
        median=int(np.median(sizes)) if len(sizes) else 0,
        rejected=_grouped(verdict, "rejected"),
        warned=_grouped(verdict, "warned"),
        warnings=verdict.findings.count("warned"),
        samples=_samples(verdict),
        short=_short,
    )


def _by_source(verdict: Verdict) -> list[dict[str, Any]]:
    """Rows by source: in training, in validation, left out; the largest source first."""
    import numpy as np

    roster, count = verdict.roster, len(verdict.roster.sources)
    kept = {
        split: np.bincount(roster.source[roster.of(split)][roster.alive[roster.of(split)]], minlength=count)
        for split in ("train", "val")
    }
    kept["dropped"] = np.bincount(roster.source[~roster.alive], minlength=count)
    found = [
        {"name": name, **{kind: int(counts[i]) for kind, counts in kept.items()}}
        for i, name in enumerate(roster.sources)
    ]
    return sorted(found, key=lambda source: (-source["train"] - source["val"] - source["dropped"], source["name"]))


def _lengths(verdict: Verdict) -> list[dict[str, Any]]:
    """Clean rows by characters between the edges 1, 2, 5, 10, 20, 50 …: label, count, share of the highest bar."""
    import numpy as np

    sizes = verdict.roster.size[verdict.roster.alive]
    if not len(sizes):
        return []
    edges = [0]
    while edges[-1] <= sizes.max():
        edges.append(_EDGES[(len(edges) - 1) % 3] * 10 ** ((len(edges) - 1) // 3))
    counts = np.histogram(sizes, edges)[0]
    present = np.flatnonzero(counts)
    return [_bar(f"{edges[i]:,}", counts[i], counts.max()) for i in range(present[0], present[-1] + 1)]


def _languages(verdict: Verdict) -> list[dict[str, Any]]:
    """Clean rows by language, the commonest first; nothing where languages are not guessed."""
    import numpy as np

    if verdict.context.action("language") == "ignore":
        return []
    counts = np.bincount(verdict.roster.language[verdict.roster.alive], minlength=len(language.NAMES))
    order = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
    return [_bar(LANGUAGES.get(language.NAMES[i]) or language.NAMES[i], counts[i], counts.sum()) for i in order]


def _bar(label: str, count: Any, whole: Any) -> dict[str, Any]:
    return {"label": label, "count": int(count), "share": float(count / whole)}


def _short(count: int) -> str:
    """A count in at most four figures: 1,234 or 12k."""
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"


def _grouped(verdict: Verdict, level: str) -> list[dict[str, Any]]:
    """What the page quotes of a level, check by check: `SHOWN` findings in all, each check with a fair part."""
    found = {check: shown for (of, check), shown in verdict.findings.shown.items() if of == level}
    fair = max(5, SHOWN // max(1, len(found)))
    counts = verdict.findings.counts
    return [
        {"check": check, "count": counts[level, check], "shown": found[check][:fair], "size": len(found[check][:fair])}
        for check in checks()
        if check in found
    ]


def _samples(verdict: Verdict) -> list[dict[str, Any]]:
    """A few training rows, evenly spaced: where they are, and who says what in them."""
    import numpy as np

    train = verdict.roster.of("train")
    clean = np.flatnonzero(verdict.roster.alive[train])
    wanted = clean[:: max(1, len(clean) // SAMPLES)][:SAMPLES].tolist()
    samples, start = [], 0
    for batch in verdict.batches("train") if wanted else ():
        places = np.searchsorted(clean, wanted) - start
        start += batch.num_rows
        for place in places[(places >= 0) & (places < batch.num_rows)].tolist():
            (row,) = from_arrow(batch.slice(place, 1))
            index = wanted[len(samples)]
            samples.append({"where": verdict.roster.where(index), "turns": list(_turns(row))})
    return samples


def _turns(row: Row) -> "list[tuple[str, str]]":
    """Who says what, shortened and without secrets."""
    said = []
    for name in CONVERSATIONS:
        for message in row.get(name) or ():
            role = message["role"] if name in ("messages", "prompt") else name
            calls = json.dumps(message["tool_calls"], ensure_ascii=False) if message.get("tool_calls") else ""
            said.append((role, "\n".join(part for part in (message.get("content"), calls) if part)))
    said += [("text", row["text"])] if "text" in row else []
    return [(who, _cut(masked(text[: 4 * CUT]))) for who, text in said]


def _cut(text: str) -> str:
    return text if len(text) <= CUT else f"{text[:CUT]}…"
