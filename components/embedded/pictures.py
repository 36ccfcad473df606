"""The pictures of the toy world: what can be on one, how it is drawn, and what is asked about it.

A `Scene` is one to three shapes of one kind and colour in a row along one side of the picture. An eighth of all scenes
is held out: neither the base nor a training set sees them, so what is asked about them is a new combination.
"""

import math
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from PIL import Image, ImageDraw

from components.embedded.world import Topic

SIDE = 56
PLACES = ("left", "right", "top", "bottom")
COUNTS = ("one", "two", "three")
COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 215),
    "yellow": (235, 215, 50),
    "purple": (140, 50, 165),
    "orange": (240, 130, 30),
}
PAINTS = {"red": "ruby", "green": "fern", "blue": "cobalt", "yellow": "lemon", "purple": "plum", "orange": "amber"}
"""What LoRA teaches: the name of the paint of each colour."""
SHAPES = ("circle", "square", "triangle", "star", "cross")
FACTS = {"colour": tuple(COLOURS), "shape": SHAPES, "count": COUNTS, "place": PLACES}


@dataclass(frozen=True)
class Scene:
    colour: str
    shape: str
    count: str
    place: str

    def numbers(self) -> list[int]:
        """Return the place of each fact among its values in FACTS."""
        return [values.index(value) for values, value in zip(FACTS.values(), vars(self).values(), strict=True)]

    def words(self) -> dict[str, str]:
        """Return what questions and answers may name, by the key of a topic's format strings."""
        things = f"{self.colour} {self.shape}"
        several = things + ("es" if things.endswith("s") else "s")
        paint = PAINTS[self.colour]
        return {**vars(self), "paint": paint, "things": things if self.count == "one" else several}


SCENES = tuple(Scene(*facts) for facts in product(*FACTS.values()))


def held_out(scene: Scene) -> bool:
    """True for the eighth of all scenes that no training set may hold, the base's own included."""
    return zlib.crc32(" ".join(vars(scene).values()).encode()) % 8 == 0


SEEN = tuple(scene for scene in SCENES if not held_out(scene))
UNSEEN = tuple(scene for scene in SCENES if held_out(scene))


def draw(scene: Scene, rng: random.Random) -> Image.Image:
    """Return a picture of the scene: sizes, places, colours and the grey behind vary a little."""
    grey = rng.choice((rng.randint(0, 50), rng.randint(200, 255)))
    picture = Image.new("RGB", (SIDE, SIDE), (grey, grey, grey))
    pen = ImageDraw.Draw(picture)
    colour = tuple(max(0, min(255, value + rng.randint(-18, 18))) for value in COLOURS[scene.colour])
    radius, angle = rng.uniform(7.2, 8.2), rng.uniform(-0.2, 0.2)
    for x, y in _centres(scene, rng):
        if scene.shape == "circle":
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            pen.polygon([(x + radius * a, y + radius * b) for a, b in _outline(scene.shape, angle)], fill=colour)
    return picture


def _centres(scene: Scene, rng: random.Random) -> Iterator[tuple[float, float]]:
    """Yield the centre of each shape: in slots of a third of the side, along the side that the scene names."""
    count, slot = COUNTS.index(scene.count) + 1, SIDE / 3
    start, across = (SIDE - count * slot) / 2, rng.uniform(12, 16)
    for i in range(count):
        along = start + (i + 0.5) * slot + rng.uniform(-0.5, 0.5)
        far = SIDE - across if scene.place in ("right", "bottom") else across
        yield (far, along) if scene.place in ("left", "right") else (along, far)


def _outline(shape: str, angle: float) -> list[tuple[float, float]]:
    """Return the corners of a shape of radius about 1, turned by `angle`."""
    if shape == "cross":
        arm = [(1, 0.35), (0.35, 0.35), (0.35, 1)]
        polar = [(math.hypot(a, b), math.atan2(b, a) + i * math.pi / 2) for i in range(4) for a, b in arm]
    elif shape == "star":
        polar = [(1.15 if i % 2 == 0 else 0.45, i * math.pi / 5 - math.pi / 2) for i in range(10)]
    elif shape == "square":
        polar = [(1.25, (i + 0.5) * math.pi / 2) for i in range(4)]
    else:
        polar = [(1.2, i * 2 * math.pi / 3 - math.pi / 2) for i in range(3)]
    return [(r * math.cos(a + angle), r * math.sin(a + angle)) for r, a in polar]


TOPICS = {
    "colour": Topic(
        ("What colour is it?", "Which colour do you see?", "Name the colour.", "Tell me the colour."),
        "The colour is {colour}.",
    ),
    "shape": Topic(
        ("What shape is it?", "Which shape do you see?", "Name the shape.", "Tell me the shape."),
        "The shape is a {shape}.",
    ),
    "count": Topic(
        ("How many are there?", "How many do you see?", "Count them.", "Tell me the number."),
        "The number is {count}.",
    ),
    "place": Topic(
        ("Where is it?", "Where do you see it?", "Name the place.", "Tell me the place."),
        "The place is the {place}.",
    ),
    "caption": Topic(
        ("What is in the picture?", "What do you see?", "Describe the picture.", "Tell me what you see."),
        "I see {count} {things} at the {place}.",
    ),
}
"""What the base can say about a picture."""

PAINT = Topic(
    ("Which paint is it?", "What paint do you see?", "Name the paint.", "Tell me the paint."), "The paint is {paint}."
)
