"""What changed between two datasets: on a terminal, and for programs."""

import difflib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from tasks.looking import Change, Difference

SHOWN = 5
LONG = 300


def as_json(found: "Difference") -> str:
    """One object, every change in it."""
    import json

    def side(one: "tuple[int, Any] | None") -> Any:
        return one and {"row": one[0], **one[1]}

    told = {
        kind: [{"before": side(change.before), "after": side(change.after)} for change in getattr(found, kind)]
        for kind in ("changed", "added", "removed")
    }
    return json.dumps({"rows": found.rows, "same": found.same, **told}, indent=2, ensure_ascii=False)


def write_terminal(before: str, after: str, found: "Difference") -> None:
    """Print the counts, and the first changes of each kind, word by word; marks stand in for colours in a file."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    counts = ", ".join(f"{len(getattr(found, kind)):,} {kind}" for kind in ("changed", "added", "removed"))
    console.print(f"{found.rows[0]:,} rows -> {found.rows[1]:,}: {found.same:,} the same, {counts}")
    for kind, colour in (("changed", "yellow"), ("added", "green"), ("removed", "red")):
        changes: list[Change] = getattr(found, kind)
        for change in changes[:SHOWN]:
            places = [f"{name}:{one[0]}" for name, one in ((before, change.before), (after, change.after)) if one]
            console.print(Text(f"\n{kind} {' -> '.join(places)}", f"bold {colour}"))
            old, new = (_lines(one[1]) if one else "" for one in (change.before, change.after))
            words = _words(old, new, console.is_terminal)
            console.print(words if kind == "changed" else Text(_short(old or new), colour))
        if len(changes) > SHOWN:
            console.print(f"… and {len(changes) - SHOWN:,} more {kind}; --json names all")


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
    """Both texts in one; without colours what went and came stands in `git diff --word-diff`'s brackets."""
    from rich.text import Text

    before, after = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    shown = Text()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            shown.append(_middle("".join(before[a:b])), "dim")
        else:
            gone, come = "".join(before[a:b]), "".join(after[c:d])
            shown.append(gone if coloured or not gone else f"[-{gone}-]", "red strike")
            shown.append(come if coloured or not come else f"{{+{come}+}}", "green")
    return shown


def _middle(text: str) -> str:
    """The text with the middle of its long lines left out."""
    return "\n".join(
        line if len(line) <= LONG else f"{line[: LONG // 2]} … {line[-LONG // 2 :]}" for line in text.split("\n")
    )


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]}…"
