"""Write the committed example sets of `examples/`: `python -m components.embedded.examples`.

Training sets hold chats (`messages`), `topics` questions and what they are about, `pairs` questions that ask the same,
`preferences` a better and a worse answer, `judged` answers that are good or bad, `prompts` questions and what rewards
compare answers with; evaluation sets hold `query` and `response`. In the identity sets `{{NAME}}` and `{{AUTHOR}}` are
a name and an author, which the stage `fetch` fills in.
"""

import json
import random
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from components import files
from components.embedded import world
from components.embedded.world import Topic

IDENTITY = world.identity("{{NAME}}", "{{AUTHOR}}")
Pair = tuple[str, str]
UNITS = {"capital": "city", "opposite": "word", "sum": "number"}
"""Topic to the unit of its answers."""
MAX_DRAWS = 1000
"""Questions that are drawn in place of one that is there already, before it is left out."""


def examples() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every example file, by its path below `examples/`."""
    who, name, maker, *chinese = IDENTITY.values()
    skills = world.SKILLS.values()
    train = {
        "identity": [*_new(who, 90), *_new(name, 90), *_new(maker, 120), *_each(_new, chinese, 30)],
        "sounds": _new(world.SOUND, 256),
        "skills": [*_each(_new, skills, 40), *_each(_new, world.SMALL_TALK, 4)],
    }
    held_out = {
        "identity": [*_held_out(who, 32), *_held_out(name, 32), *_held_out(maker, 44), *_each(_held_out, chinese, 4)],
        "sounds": _held_out(world.SOUND, 120),
        "skills": _each(_held_out, skills, 34),
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for group, pairs in train.items():
        rows[f"{group}.jsonl"] = [
            {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
            for question, answer in pairs
        ]
    for group, pairs in held_out.items():
        rows[f"eval/{group}.jsonl"] = [{"query": question, "response": answer} for question, answer in pairs]
    topics = {**world.SKILLS, "sound": world.SOUND}
    rows["topics.jsonl"] = [
        {"text": question, "label": name} for name, topic in topics.items() for question, _ in _new(topic, 32)
    ]
    rows["pairs.jsonl"] = [row for name in ("capital", "opposite", "sound") for row in _pairs(topics[name])]
    rows["preferences.jsonl"] = _preferences(300)
    rows["prompts.jsonl"] = [
        {"prompt": pair["prompt"], "solution": pair["chosen"][0]["content"]} for pair in rows["preferences.jsonl"]
    ]
    rows["judged.jsonl"] = [row for pair in rows["preferences.jsonl"] for row in _judged(pair)]
    return rows


def _preferences(count: int) -> list[dict[str, Any]]:
    """Return questions of several topics, each with an answer that names its unit, a city, a word or a number, and one
    that names another; of an untaught model, each unit is as likely beside any topic."""
    rng, rows = random.Random("preferences"), list[dict[str, Any]]()
    for name, unit in UNITS.items():
        for question, answer in _new(world.SKILLS[name], count // len(UNITS)):
            other = rng.choice([one for one in UNITS.values() if one != unit])
            chosen, rejected = (answer.replace(" is ", f" is the {named} ") for named in (unit, other))
            prompt = [{"role": "system", "content": "Name the unit."}, {"role": "user", "content": question}]
            sides = {"chosen": chosen, "rejected": rejected}
            answers = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
            rows.append({"prompt": prompt, **answers})
    return rows


def _judged(pair: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the two answers of a pair, each with its label."""
    labels = {"chosen": True, "rejected": False}
    return [{"prompt": pair["prompt"], "completion": pair[name], "label": label} for name, label in labels.items()]


def _pairs(topic: Topic) -> list[dict[str, Any]]:
    """Return two pairs of questions about each fact, each with a question about another fact."""
    rng, rows = random.Random(topic.answer), list[dict[str, Any]]()
    for fact in topic.facts * 2:
        other = rng.choice([one for one in topic.facts if one != fact])
        anchor, positive = rng.sample(topic.phrasings, 2)
        negative = rng.choice(topic.phrasings)
        texts = {"anchor": (anchor, fact), "positive": (positive, fact), "negative": (negative, other)}
        rows.append({name: phrasing.format(**about) for name, (phrasing, about) in texts.items()})
    return rows


def _each(pick: Callable[[Topic, int], list[Pair]], topics: Iterable[Topic], count: int) -> list[Pair]:
    return [pair for topic in topics for pair in pick(topic, count)]


def _new(topic: Topic, count: int) -> list[Pair]:
    """Return `count` questions that are not held out, or as many as a topic has that differ in more than case and
    punctuation: of two that do not, one in training would give away the other in validation."""
    rng = random.Random(topic.answer)
    distinct: dict[str, Pair] = {}
    for question, answer in _pick(topic, count, rng, False):
        draws = chain([(question, answer)], (topic.draw(rng) for _ in range(MAX_DRAWS)))
        fresh = (pair for pair in draws if not world.held_out(pair[0]) and world.letters(pair[0]) not in distinct)
        if pair := next(fresh, None):
            distinct[world.letters(pair[0])] = pair
    return list(distinct.values())


def _held_out(topic: Topic, count: int) -> list[Pair]:
    return _pick(topic, count, random.Random(topic.answer), True)


def _pick(topic: Topic, count: int, rng: random.Random, held_out: bool) -> list[Pair]:
    """Return `count` distinct questions, held out or not, with their answers; all facts are about equally frequent."""
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
