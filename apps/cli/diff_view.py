"""The difference between two datasets, on a terminal and as JSON."""

import difflib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from tasks.looking import Change, Difference

MAX_CHANGES = 5
"""Changes of each kind that a terminal shows."""
MAX_LINE_CHARS = 300


def as_json(difference: "Difference") -> str:
    """Return one JSON object with every change."""
    import json

    def side(row: "tuple[int, Any] | None") -> Any:
        return row and {"row": row[0], **row[1]}

    changes = {
        kind: [{"before": side(change.before), "after": side(change.after)} for change in getattr(difference, kind)]
        for kind in ("changed", "added", "removed")
    }
    return json.dumps({"rows": difference.rows, "same": difference.same, **changes}, indent=2, ensure_ascii=False)


def write_terminal(before: str, after: str, difference: "Difference") -> None:
    """Print the counts and the first changes of each kind, word by word, in colours or, in a file, in brackets."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    counts = ", ".join(f"{len(getattr(difference, kind)):,} {kind}" for kind in ("changed", "added", "removed"))
    console.print(f"{difference.rows[0]:,} rows -> {difference.rows[1]:,}: {difference.same:,} the same, {counts}")
    for kind, colour in (("changed", "yellow"), ("added", "green"), ("removed", "red")):
        changes: list[Change] = getattr(difference, kind)
        for change in changes[:MAX_CHANGES]:
            locations = [f"{name}:{row[0]}" for name, row in ((before, change.before), (after, change.after)) if row]
            console.print(Text(f"\n{kind} {' -> '.join(locations)}", f"bold {colour}"))
            old, new = (_lines(row[1]) if row else "" for row in (change.before, change.after))
            words = _words(old, new, console.is_terminal)
            console.print(words if kind == "changed" else Text(_short(old or new), colour))
        if len(changes) > MAX_CHANGES:
            console.print(f"… and {len(changes) - MAX_CHANGES:,} more {kind}; --json prints all")


def _lines(row: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
            prefix = "" if name == "messages" else f"{name} "
            lines += [f"{prefix}{m['role']}: {m['content']}{_rest(m)}" for m in value]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines)


def _rest(message: dict[str, Any]) -> str:
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return f" {more}" if more else ""


def _words(old: str, new: str, coloured: bool) -> "Text":
    """Return both texts as one, the words of each marked: by colour, or by the brackets of `git diff --word-diff`."""
    from rich.text import Text

    before, after = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    text = Text()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            text.append(_without_middles("".join(before[a:b])), "dim")
        else:
            old_words, new_words = "".join(before[a:b]), "".join(after[c:d])
            text.append(old_words if coloured or not old_words else f"[-{old_words}-]", "red strike")
            text.append(new_words if coloured or not new_words else f"{{+{new_words}+}}", "green")
    return text


def _without_middles(text: str) -> str:
    """Return the text, the middle of long lines left out."""
    half = MAX_LINE_CHARS // 2
    return "\n".join(
        line if len(line) <= MAX_LINE_CHARS else f"{line[:half]} … {line[-half:]}" for line in text.split("\n")
    )


def _short(text: str) -> str:
    return text if len(text) <= MAX_LINE_CHARS else f"{text[:MAX_LINE_CHARS]}…"
