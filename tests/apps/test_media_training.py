"""The flags of a training on pictures and videos, each with its effect, on a tiny model that sees."""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2VLForConditionalGeneration

from components.config import Params, read_mapping, resolve
from components.config.groups.multimodal import Multimodal
from components.errors import ConfigError, DataGateError
from components.files import read_json, write_json
from components.media import load_processor
from components.tokens import TokenRows
from components.towers import Parts
from components.training.features import Features
from tasks.stages import fetch, methods, template, train, validate
from tasks.stages.paths import Paths
from tests.components.media.files import picture, video

SMALL: dict[str, Any] = {
    "dataset": ["rows.jsonl"], "max_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-3,
    "lr_scheduler_type": "constant", "warmup_ratio": 0, "weight_decay": 0, "lora_dropout": 0, "dataset_num_proc": 1,
    "split_dataset_ratio": 0, "dataset_shuffle": False,
}  # fmt: skip
WATCH = """\
import json, pathlib
from transformers import TrainerCallback

class Watch(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        names = [n for n, m in model.named_modules() if getattr(m, "gradient_checkpointing", False)]
        pathlib.Path({file!r}).write_text(json.dumps(names))

def callback(job):
    return Watch()
"""


class Rows:
    """A folder with rows of pictures, videos and texts, fetched and checked; `flags` become its parameters."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base, self.paths = folder, base, Paths(folder, folder)
        for n in (1, 2):
            (folder / f"{n}.png").write_bytes(picture(n, (112, 84)))
        (folder / "long.mp4").write_bytes(video(32, (64, 64)))  # of 4 seconds
        rows = [
            {"query": "<image>What?", "response": "A cat.", "images": ["1.png"]},
            {"query": "Who are you?", "response": "A model."},
            {"query": "<video>What happens?", "response": "It glows.", "videos": ["long.mp4"]},
            {"query": "<image><image>Which?", "response": "The first one.", "images": ["2.png", "1.png"]},
        ]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for stage in (fetch, validate, template):
            stage.run(self.params(), self.paths)

    def params(self, **flags: Any) -> Params:
        return resolve(read_mapping({"model": str(self.base), **SMALL, **flags}, "test"))

    def lengths(self, **flags: Any) -> dict[str, int]:
        """Tokens of the first picture and of the video."""
        template.run(self.params(**flags), self.paths)
        table = TokenRows(self.paths.tokens / "train.arrow")
        media = [reference for row in map(table.__getitem__, range(len(table))) for reference in row.get("media") or ()]
        return {kind: next(m["length"] for m in media if m["kind"] == kind) for kind in ("image", "video")}

    def train(self, **flags: Any) -> dict[str, torch.Tensor]:
        """The weights that a training saves."""
        params = self.params(**flags)
        write_json(self.paths.methods, methods.used(params, self.folder))
        train.run(params, self.paths)
        return load_file(next(self.paths.adapter.glob("*.safetensors")))

    def steps(self, **flags: Any) -> dict[str, float]:
        """By part of the model the largest change of a weight that a full training makes."""
        self.train(tuner_type="full", **flags)
        before, after = (Qwen2VLForConditionalGeneration.from_pretrained(f) for f in (self.base, self.paths.adapter))
        parts, largest = Parts(before), defaultdict[str, float](float)
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
            largest[parts.of(name)] = max(largest[parts.of(name)], float((new - old).detach().abs().max()))
        return largest


@pytest.fixture(scope="module")
def rows(sighted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return Rows(tmp_path_factory.mktemp("media"), sighted_model)


def test_media_become_as_many_tokens_as_the_flags_say(rows: Rows) -> None:
    usual = rows.lengths()
    assert rows.lengths(max_pixels=784) == {**usual, "image": 1} != usual
    assert rows.lengths(fps=4.0)["video"] == 2 * usual["video"] == 4 * rows.lengths(nframes=4)["video"]
    assert rows.lengths(fps_min_frames=12)["video"] == rows.lengths(nframes=12)["video"]
    assert rows.lengths(fps_max_frames=4)["video"] == rows.lengths(nframes=4)["video"]
    assert rows.lengths(video_max_pixels=784)["video"] < usual["video"]
    assert rows.lengths() == usual


def test_parts_learn_or_are_frozen_each_at_its_rate(rows: Rows) -> None:
    assert rows.steps() == pytest.approx({"llm": 1e-3, "aligner": 0, "vit": 0}, rel=0.05)
    towers = {"freeze_vit": False, "freeze_aligner": False, "freeze_llm": True}
    rates = {"vit_lr": 3e-3, "aligner_lr": 7e-3}
    assert rows.steps(**towers, **rates) == pytest.approx({"llm": 0, "aligner": 7e-3, "vit": 3e-3}, rel=0.05)
    with pytest.raises(ConfigError, match="freeze_aligner, freeze_llm, freeze_vit: no layer is left to learn"):
        rows.train(freeze_llm=True)
    # A batch of the text alone teaches the aligner nothing, and ends nothing.
    assert rows.train(freeze_llm=True, freeze_aligner=False, per_device_train_batch_size=1, max_steps=4)


def test_a_kind_of_media_that_the_model_does_not_take_stops_the_run(rows: Rows, tiny_model: Path) -> None:
    params = rows.params(model=str(tiny_model))
    fetch.run(params, rows.paths)
    with pytest.raises(ConfigError, match=r"the rows have images and videos, and .* takes texts alone; name another"):
        template.run(params, rows.paths)
    fetch.run(rows.params(), rows.paths)


def test_a_medium_that_changes_behind_the_gate_stops_the_run(rows: Rows) -> None:
    before = (rows.folder / "1.png").read_bytes()
    (rows.folder / "1.png").write_bytes(picture(7, (112, 84)))
    with pytest.raises(DataGateError, match=r"1.png: the file has changed since it was fetched"):
        template.run(rows.params(), rows.paths)
    (rows.folder / "1.png").write_bytes(before)
    template.run(rows.params(), rows.paths)


def test_features_of_another_run_are_not_taken(rows: Rows) -> None:
    flags = {"num_train_epochs": 2, "max_steps": 4}
    expected = rows.train(**flags)
    checkpoints = next((rows.folder / ".checkpoints").iterdir())
    shutil.rmtree(rows.folder / ".checkpoints")
    table = TokenRows(rows.paths.tokens / "train.arrow")
    other = load_processor(rows.base, Multimodal(max_pixels=784), rows.folder)
    assert other
    left = Features(other, torch.float32, checkpoints / "features")  # as a killed run leaves them
    assert all(left.of(media) for media in (row["media"] for row in map(table.__getitem__, range(len(table)))) if media)
    again = rows.train(**flags)
    assert all(torch.equal(value, again[name]) for name, value in expected.items())
    assert not (checkpoints / "features").exists()


def test_towers_recompute_or_not_and_learn_the_same(rows: Rows) -> None:
    (rows.folder / "watch.py").write_text(WATCH.format(file=str(rows.folder / "names.json")))
    flags = {"external_plugins": ["watch.py"], "callbacks": ["watch"], "freeze_vit": False, "tuner_type": "full"}
    weights, seen = [], []
    for text, towers in ((False, None), (True, None), (True, False), (False, True)):
        weights.append(rows.train(**flags, gradient_checkpointing=text, vit_gradient_checkpointing=towers))
        names = read_json(rows.folder / "names.json")
        seen.append({"tower" if "visual" in name else "text" for name in names})
    assert seen == [set(), {"tower", "text"}, {"text"}, {"tower"}]
    for other in weights[1:]:
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())


def test_a_batch_is_its_parts_and_a_stopped_run_goes_on(rows: Rows) -> None:
    flags = {"freeze_vit": False, "num_train_epochs": 2, "max_steps": 2}
    whole = rows.train(**flags, per_device_train_batch_size=4, gradient_accumulation_steps=1, save_steps=1)
    checkpoints = next(iter((rows.folder / ".checkpoints").glob("*/checkpoint-2"))).parent
    shutil.rmtree(checkpoints / "checkpoint-2")
    shutil.rmtree(rows.paths.adapter)
    resumed = rows.train(**flags, per_device_train_batch_size=4, gradient_accumulation_steps=1, save_steps=1)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    parts = rows.train(**flags, per_device_train_batch_size=1, gradient_accumulation_steps=4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=2e-5, rtol=1e-3)
