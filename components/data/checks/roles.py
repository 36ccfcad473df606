"""A system message first if any, then user and assistant in turn, tools where they were called, an answer last."""

from collections.abc import Iterator
from re import fullmatch

from components.data.checks import Batch, Context, Failure
from components.rows import Row

ASKED = r"u(?:ct+)*"
ANSWERED = r"(?:ct+)*[ac]"
HISTORY = rf"(?:{ASKED}a)*"
LABELLED = rf"^s?{HISTORY}{ASKED}[ac]?$"
"""The roles of a prompt whose label is a class: it may end with an answer."""
RULES = {
    "messages": rf"^s?{HISTORY}{ASKED}[ac]$",
    "prompt": rf"^s?{HISTORY}{ASKED}$",
    **dict.fromkeys(("chosen", "rejected", "completion"), rf"^(?:(?:ct+)*au)*{ANSWERED}$"),
}
"""The roles that a column may have, in the letters of `Batch.roles`."""
NEXT = {"": "su", "s": "u", "u": "ac", "a": "u", "c": "t", "t": "tac"}
"""What may follow each letter."""
WORDS = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """One regular expression over the roles of a row, written as letters."""
    reported: set[int] = set()
    for name, letters in batch.roles.items():
        wrong = (~letters.str.contains(RULES[name])).fill_null(False).arg_true().to_list()
        for i in wrong:
            is_labelled = name == "prompt" and "label" in batch.rows[i].get("extra", {})
            if i not in reported and not (is_labelled and fullmatch(LABELLED, letters[i])):
                reported.add(i)
                yield Failure(i, _problem(name, letters[i], batch.rows[i]))


def _problem(name: str, letters: str, row: Row) -> str:
    place = "" if name == "messages" else f" of '{name}'"
    turns = letters.removeprefix("s")
    if not turns:
        return f"has no question and no answer{place}"
    before = "" if name in ("messages", "prompt") else "u"
    for number, letter in enumerate(turns, 1):
        allowed = NEXT[before].replace("s", "")
        if letter not in allowed:
            role = row[name][number - 1 + len(letters) - len(turns)]["role"]
            return _wrong_turn(number, letter, allowed, role, place)
        before = letter
    if name == "prompt":
        return "the prompt must end with the user's turn, or a tool's: what follows is the answer"
    return f"ends without an answer{place}: the last turn must be the assistant's"


def _wrong_turn(number: int, letter: str, allowed: str, role: str, place: str) -> str:
    expected = WORDS[allowed[0]]
    if letter == "s":
        return f"a system message stands after the first message{place}"
    if letter == "x":
        return f"turn {number}{place} has the role '{role}', not {expected}"
    if letter == "t":
        return f"turn {number}{place} is a tool's, and no tool was called"
    if expected == "tool":
        return f"turn {number}{place} is by the {role}: the tool that was called has not answered"
    return f"turn {number}{place} is by the {role}, not the {expected}: turns must alternate, the user first"
