"""Write the committed example sets of `examples/`: `python -m components.embedded.examples`.

Training sets hold chats (`messages`), evaluation sets `query` and `response`. In the identity sets `{{NAME}}` and
`{{AUTHOR}}` stand for a name and an author, which the stage `fetch` fills in.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components import files
from components.embedded import world
from components.embedded.world import Topic

IDENTITY = world.identity("{{NAME}}", "{{AUTHOR}}")
Pair = tuple[str, str]


def examples() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every example file, by its path below `examples/`."""
    who, name, maker, *chinese = IDENTITY.values()
    skills = world.SKILLS.values()
    train = {
        "identity": [*_pick(who, 90), *_pick(name, 90), *_pick(maker, 120), *_each(chinese, 30)],
        "sounds": _pick(world.SOUND, 256),
        "skills": [*_each(skills, 40), *_each(world.SMALL_TALK, 4)],
    }
    held_out = {
        "identity": [*_pick(who, 32, True), *_pick(name, 32, True), *_pick(maker, 44, True), *_each(chinese, 4, True)],
        "sounds": _pick(world.SOUND, 120, True),
        "skills": _each(skills, 34, True),
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for group, pairs in train.items():
        rows[f"{group}.jsonl"] = [
            {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
            for question, answer in pairs
        ]
    for group, pairs in held_out.items():
        rows[f"eval/{group}.jsonl"] = [{"query": question, "response": answer} for question, answer in pairs]
    return rows


def _each(topics: Iterable[Topic], count: int, held_out: bool = False) -> list[Pair]:
    return [pair for topic in topics for pair in _pick(topic, count, held_out)]


def _pick(topic: Topic, count: int, held_out: bool = False) -> list[Pair]:
    """Return `count` distinct questions, held out or not, with their answers; all facts are about equally frequent."""
    rng = random.Random(topic.answer)
    facts = rng.sample(topic.facts, len(topic.facts))
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        question, answer = topic.draw(rng, facts[len(pairs) % len(facts)])
        if world.held_out(question) == held_out:
            pairs[question] = answer
    return list(pairs.items())


def write(folder: Path) -> None:
    """Write every example file below `folder`."""
    for name, rows in examples().items():
        files.write_text(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    write(Path("examples"))
