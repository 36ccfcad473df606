"""A tiny model that sees pictures, through the whole pipeline: in a few steps, and (slow) until it has learned."""

import json
from pathlib import Path

import pytest
import yaml

from components import registry
from components.embedded import VisionSettings, build_vision_base
from components.files import read_json
from tests.commands import Command
from tests.pipeline.conftest import Workspace

pytestmark = pytest.mark.timeout(1600)  # the slow one builds its base
EVAL = Path("examples/pictures/eval")


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def history(workspace: Workspace) -> Path:
    return max((workspace.root / ".runs/history").iterdir(), key=lambda folder: folder.stat().st_mtime)


def test_rows_with_pictures_go_through_every_stage(workspace: Workspace) -> None:
    root = workspace.root
    build_vision_base(
        root / "models/quick",
        settings=VisionSettings(steps=4, batch_size=6, picture_steps=1, tower_steps=3, tower_batch_size=4),
    )
    write(root / EVAL / "few.jsonl", lines(root / EVAL / "paint.jsonl")[:6])
    recipe = yaml.safe_load((root / "recipes/tiny-vlm.yaml").read_text())
    recipe["model"]["model"] = "models/quick"
    recipe["data"] |= {"dataset": ["examples/pictures/train.jsonl#32"], "eval_dataset": [str(EVAL / "few.jsonl")]}
    recipe["train"] |= {"max_steps": 2, "per_device_train_batch_size": 4}
    (root / "quick.yaml").write_text(yaml.safe_dump(recipe))
    ran = Command(root, "run", "quick.yaml", **workspace.env).wait(1500)
    assert ran.returncode == 4, ran.stdout + ran.stderr  # the gate does not open for what has not learned
    metrics = read_json(history(workspace) / "metrics.json")
    assert set(metrics) >= {"base", "merged"}
    gate = read_json(history(workspace) / "reports/gate.json")
    assert gate["decision"] != "promote"
    assert "data:image/" in (history(workspace) / "reports/data.html").read_text()  # thumbnails


@pytest.mark.slow  # builds the base and runs the recipe: about eight minutes of two cores
def test_the_demo_teaches_paints_and_looks_at_the_pictures(workspace: Workspace) -> None:
    ran = Command(workspace.root, "demo", "--vision", **workspace.env).wait(1500)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "The paint is " in ran.stdout
    scores = read_json(history(workspace) / "metrics.json")
    assert scores["base"]["paint"] <= 0.2 and scores["merged"]["paint"] >= 0.9
    for kept in ("pictures", "skills"):
        assert scores["merged"][kept] >= scores["base"][kept] - 0.05
    champion = registry.champion("martlet-vision-demo", workspace.root)
    assert champion
    assert right(workspace, champion.folder, turned=False) >= 0.9
    assert right(workspace, champion.folder, turned=True) <= 0.4


def right(workspace: Workspace, model: Path, turned: bool) -> float:
    """The share of right answers about paints, with the pictures, or each with another question's."""
    rows = lines(workspace.root / EVAL / "paint.jsonl")
    images = [row["images"] for row in rows]
    images = images[7:] + images[:7] if turned else images
    questions = [{"query": row["query"], "images": own} for row, own in zip(rows, images, strict=True)]
    write(workspace.root / EVAL / "asked.jsonl", questions)
    words = ["infer", "--model", model, "--val_dataset", EVAL / "asked.jsonl", "--result_path", f"{turned}.jsonl"]
    ran = Command(workspace.root, *words, "--temperature", "0", **workspace.env).wait(300)
    assert ran.returncode == 0, ran.stderr
    answers = lines(workspace.root / f"{turned}.jsonl")
    return sum(a["response"] == b["response"] for a, b in zip(answers, rows, strict=True)) / len(rows)
