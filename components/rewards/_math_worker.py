"""A program that compares answers with golds by math-verify: a pair as JSON a line in, `true`, `false` or `null` out.

It is a process of its own because sympy can compute for ever or fill the memory on what a model writes: here alarms
work, which need a main thread, and what no alarm interrupts can be killed.
"""

import json
import logging
import re
import resource
import sys
import unicodedata
from functools import lru_cache
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

SECONDS = 3
MEMORY = 4 << 30
KINDS = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
DELIMITERS = ("$", "\\boxed", "\\(", "\\[")
LONGEST_TEXT = 100
"""Characters of the longest plain gold; a longer one is no answer to compare with."""


def compare(gold: str, answer: str) -> bool | None:
    """Return whether an answer is the gold's, or None where the gold is unreadable."""
    gold = gold.rpartition("####")[2].strip()
    if _is_text(gold):
        if len(gold) > LONGEST_TEXT or not _normal(gold):
            return None
        return _normal(_last_words(_final(answer))) == _normal(gold)
    expected = _parsed_gold(gold)
    return verify(expected, _parsed(_final(answer)), timeout_seconds=SECONDS) if expected else None


def _is_text(gold: str) -> bool:
    """Return whether a gold is words or a letter (Paris, yes, B) or a time (3:30), no mathematics."""
    return re.search(r"\d:\d", gold) is not None or re.search(r"[\d\\^_+=*/<>|${}]", gold) is None


@lru_cache(64)  # many answers have one gold
def _parsed_gold(gold: str) -> list[Any]:
    gold = re.sub(r"\\[,!]", "", gold)
    is_plain = re.fullmatch(r"[-+\d.,/%\s]+", gold) or re.search(r"(?<![\\A-Za-z])[A-Za-z]{2,}", gold)
    if is_plain or any(mark in gold for mark in DELIMITERS):
        return _parsed(gold)
    return _parsed(f"${gold}$") or _parsed(gold)


def _parsed(text: str) -> list[Any]:
    return parse(text, KINDS, fallback_mode="no_fallback", extraction_mode="first_match", parsing_timeout=SECONDS)


def _final(answer: str) -> str:
    """Return what stands behind the thoughts and within `<answer>`, or behind `####`; nothing where the thoughts do not
    end."""
    if "<think>" in answer and "</think>" not in answer:
        return ""
    answer = answer.rpartition("</think>")[2]
    if within := re.findall(r"<answer>(.*?)</answer>", answer, re.DOTALL):
        answer = within[-1]
    return answer.rpartition("####")[2]


def _last_words(text: str) -> str:
    """Return the content of the last `\\boxed{…}`, what follows the last `answer is` or `Answer:`, or the last line."""
    _, mark, boxed = text.rpartition("\\boxed{")
    if mark:
        depth = 1
        for place, character in enumerate(boxed):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if not depth:
                return boxed[:place]
    if found := re.findall(r"answer(?:\s+is|\**:)\**:?[ ]*([^\n]+)", text, re.IGNORECASE):
        return found[-1]
    return (text.strip().splitlines() or [""])[-1]


def _normal(text: str) -> str:
    """Return a text without LaTeX's and Markdown's marks, outer punctuation, case, and differences of spaces."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"[$*`]", "", unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(text.split()).strip(" .,;:!?\"'()[]{}")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    answers, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        pair = json.loads(line)
        try:
            same = compare(pair["gold"], pair["answer"])
        except (Exception, MemoryError):  # what sympy raises on a model's words
            same = False
        print(json.dumps(same), file=answers, flush=True)


if __name__ == "__main__":
    main()
