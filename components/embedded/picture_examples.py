"""Write the committed example set of `examples/pictures/`: `python -m components.embedded.picture_examples`.

The training set teaches paints, which the vision base does not know, and repeats what it knows, with a picture and
without. The evaluation sets ask about scenes that neither it nor the base has seen; what they ask without a picture is
in `examples/eval/skills.jsonl`.
"""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files
from components.embedded import pictures, world
from components.embedded.pictures import PAINT, TOPICS, Scene

if TYPE_CHECKING:
    from PIL.Image import Image

Row = dict[str, Any]
TRAINED, ASKED = 240, 60
"""Pictures to train on, and to ask about."""


def examples() -> "tuple[dict[str, list[Row]], dict[str, Image]]":
    """Return the rows of every file and every picture, by path below `examples/pictures/`."""
    rng = random.Random("pictures")
    train_scenes, eval_scenes = rng.sample(pictures.SEEN, TRAINED), rng.choices(pictures.UNSEEN, k=ASKED)
    rows = {
        "train.jsonl": [*_taught(rng, train_scenes), *_without(rng, 20)],
        "eval/paint.jsonl": [_question(rng, PAINT, eval_scenes, number) for number in range(ASKED)],
        "eval/pictures.jsonl": [
            _question(rng, topic, eval_scenes, number)
            for topic in TOPICS.values()
            for number in sorted(rng.sample(range(ASKED), 24))
        ],
    }
    drawings = {_path(number): pictures.draw(scene, rng) for number, scene in enumerate(train_scenes)}
    drawings |= {f"eval/{_path(number)}": pictures.draw(scene, rng) for number, scene in enumerate(eval_scenes)}
    return rows, drawings


def _taught(rng: random.Random, scenes: list[Scene]) -> list[Row]:
    """Return a question about the paint of each scene, and one about something else."""
    topics = tuple(TOPICS.values())
    rows: list[Row] = []
    for number in range(len(scenes)):
        for topic in (PAINT, topics[number % len(topics)]):
            row = _question(rng, topic, scenes, number)
            rows.append({"messages": _messages(row["query"], row["response"]), "images": row["images"]})
    return rows


def _without(rng: random.Random, count: int) -> list[Row]:
    """Return `count` questions of each topic that needs no picture."""
    rows: list[Row] = []
    for topic in world.SKILLS.values():
        drawn = dict(topic.draw(rng) for _ in range(4 * count))
        pairs = [pair for pair in drawn.items() if not world.held_out(pair[0])]
        rows += [{"messages": _messages(*pair)} for pair in pairs[:count]]
    return rows


def _question(rng: random.Random, topic: world.Topic, scenes: list[Scene], number: int) -> Row:
    question, answer = topic.draw(rng, scenes[number].words())
    return {"query": f"<image>{question}", "response": answer, "images": [_path(number)]}


def _messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _path(number: int) -> str:
    return f"images/{number:03}.png"


def write(folder: Path) -> None:
    """Write every file and every picture below `folder`."""
    rows, drawings = examples()
    for name, several in rows.items():
        files.write_text(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in several))
    for name, picture in drawings.items():
        with files.replacing(folder / name) as temporary:
            picture.save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    write(Path("examples/pictures"))
