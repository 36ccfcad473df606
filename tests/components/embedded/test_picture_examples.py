from pathlib import Path
from typing import Any

from PIL import Image

from components.embedded import pictures, world
from components.embedded.picture_examples import examples, write

FOLDER = Path("examples/pictures")
ROWS, SHOWN = examples()


def test_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    """Pictures are compared by their pixels: how well PNG packs them depends on the zlib."""
    write(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file()}
    assert {str(path) for path in written} == {*ROWS, *SHOWN}
    for path in written:
        again = "run python -m components.embedded.picture_examples"
        if path.suffix == ".png":
            assert _pixels(FOLDER / path) == _pixels(tmp_path / path), again
        else:
            assert (FOLDER / path).read_bytes() == (tmp_path / path).read_bytes(), again


def _pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        assert picture.size == (pictures.SIDE, pictures.SIDE)
        return picture.convert("RGB").tobytes()


def test_files_are_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) < 300_000
    assert max((FOLDER / name).stat().st_size for name in SHOWN) < 1000


def test_every_picture_is_another_and_is_asked_about() -> None:
    assert len({picture.tobytes() for picture in SHOWN.values()}) == len(SHOWN) == 300
    named = {str(Path(file).parent / name) for file, rows in ROWS.items() for row in rows for name in _images(row)}
    assert named == set(SHOWN)


def _images(row: dict[str, Any]) -> list[str]:
    text = row.get("query") or row["messages"][0]["content"]
    images = row.get("images", [])
    assert text.count("<image>") == len(images)
    return images


def test_paints_are_taught_beside_what_the_base_knows_with_pictures_and_without() -> None:
    answers = [row["messages"][1]["content"] for row in ROWS["train.jsonl"]]
    paints = [answer for answer in answers if answer.startswith("The paint is ")]
    assert {answer.removeprefix("The paint is ").rstrip(".") for answer in paints} == set(pictures.PAINTS.values())
    known = [row for row in ROWS["train.jsonl"] if not row["messages"][1]["content"].startswith("The paint is ")]
    assert len([row for row in known if "images" in row]) == 240
    assert len([row for row in known if "images" not in row]) == 120
    assert not any(world.held_out(row["messages"][0]["content"]) for row in known if "images" not in row)


def test_questions_to_answer_are_about_every_paint_and_every_fact() -> None:
    asked = {row["response"].split()[-1].rstrip(".") for row in ROWS["eval/paint.jsonl"]}
    assert asked == set(pictures.PAINTS.values())
    text = " ".join(row["response"] for row in ROWS["eval/pictures.jsonl"])
    assert all(value in text for values in pictures.FACTS.values() for value in values)
