"""`--report_to`: trackers beside MLflow have the steps of a training, below its folder, and none is used unasked.

wandb and swanlab are stood in for by a module that writes down what it is called with.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import read_json
from tasks import effects
from tests.apps.test_plugins import PLUGINS, write_rows
from tests.apps.test_training_commands import losses
from tests.commands import martlet

STAND_IN = """\
import json, os
from pathlib import Path

run, summary = None, {}

def _write(**call):
    with Path("calls.jsonl").open("a") as file:
        file.write(json.dumps({"tracker": __name__, **call}) + "\\n")

def get_run():
    if run is None:
        raise RuntimeError("No active Run. Call swanlab.init() first.")  # as swanlab 0.10 does
    return run

def init(**arguments):
    global run
    run = type("Run", (), {"_label": lambda *_, **__: None, "summary": summary, "url": None})()
    folder = os.environ[{"wandb": "WANDB_DIR", "swanlab": "SWANLAB_LOG_DIR"}[__name__]]
    _write(init=arguments, folder=folder)

def log(values, step=None):
    if "train/loss" in values:
        _write(loss=values["train/loss"], accuracy=values["train/rewards/accuracies"])
    if "eval/loss" in values:
        _write(eval_accuracy=values["eval/rewards/accuracies"])

def finish():
    _write(finished=True)

config = type("Config", (dict,), {"update": lambda *_, **__: None})()
"""


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """A folder of packages named wandb and swanlab."""
    folder = tmp_path / "packages"
    (folder / "wandb/sdk/lib").mkdir(parents=True)
    (folder / "swanlab").mkdir()
    for name in ("wandb", "swanlab"):
        (folder / name / "__init__.py").write_text(STAND_IN)
    (folder / "wandb/sdk/lib/config_util.py").write_text("class ConfigError(Exception): ...\n")
    return folder


def test_wandb_and_swanlab_have_every_figure_of_every_step_under_the_name_of_the_run(
    tiny_model: Path, stand_ins: Path, tmp_path: Path
) -> None:
    pairs = [{"query": f"{n}?", "response": f"it is {n}", "rejected_response": "no"} for n in range(8)]
    write_rows(tmp_path / "rows.jsonl", pairs)
    words = (
        f"sft --model {tiny_model} --dataset rows.jsonl --max_steps 3 --logging_steps 1 --experiment_name birds "
        f"--output_dir run --add_version false --report_to wandb swanlab --method trl_dpo --split_dataset_ratio 0.25 "
        f"--external_plugins {PLUGINS / 'trl_dpo.py'}"
    )
    martlet(tmp_path, *words.split(), PYTHONPATH=str(stand_ins))
    assert not (tmp_path / "mlruns").exists()
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    logs, report = tmp_path / "run/logs", read_json(tmp_path / "run/reports/train.json")
    lines = [json.loads(line) for line in (logs / "train/progress.jsonl").read_text().splitlines()]
    for name, folder, own in (
        ("wandb", logs, {"name": "run"}),
        ("swanlab", logs / "swanlab", {"experiment_name": "run"}),
    ):
        first, *steps, evaluation, last = [
            {key: value for key, value in call.items() if key != "tracker"} for call in calls if call["tracker"] == name
        ]
        assert first == {"init": {"project": "birds", **own}, "folder": str(folder)}
        assert [step["loss"] for step in steps] == pytest.approx(losses(tmp_path / "run"))
        assert [step["accuracy"] for step in steps] == [line["rewards/accuracies"] for line in lines if "loss" in line]
        assert evaluation["eval_accuracy"] == report["eval_rewards/accuracies"]
        assert last == {"finished": True}


def test_tensorboard_has_every_step_in_the_folder_of_the_run(tiny_model: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard: uv pip install tensorboard"
    )
    write_rows(tmp_path / "rows.jsonl", [{"query": f"{n}?", "response": f"it is {n}"} for n in range(8)])
    martlet(
        tmp_path, "sft", "--model", tiny_model, "--dataset", "rows.jsonl", "--max_steps", 3, "--logging_steps", 1,
        "--output_dir", "run", "--add_version", "false", "--report_to", "tensorboard",
    )  # fmt: skip
    events = accumulator.EventAccumulator(str(tmp_path / "run/logs/tensorboard")).Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert points == [(n, pytest.approx(loss)) for n, loss in enumerate(losses(tmp_path / "run"), 1)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "swanlab"])
def test_a_tracker_whose_package_is_missing_is_refused_before_anything_is_written(
    name: str, tiny_model: Path, tmp_path: Path
) -> None:
    if find_spec(name):
        pytest.skip(f"{name} is installed")
    write_rows(tmp_path / "rows.jsonl", [{"query": "1?", "response": "one"}])
    words = ["--model", tiny_model, "--dataset", "rows.jsonl", "--output_dir", "run", "--report_to", "mlflow", name]
    error = martlet(tmp_path, "sft", *words, code=2)
    assert f"report_to: {name} needs a package that is not installed: pip install {name}" in error
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("none", ["none"]),
        ("mlflow", ["mlflow"]),
        (["mlflow", "wandb", "mlflow"], ["mlflow", "wandb"]),
        ([], ["none"]),
    ],
)
def test_one_word_or_several_name_the_trackers(value: Any, names: list[str]) -> None:
    assert resolve(read_flags({"report_to": value})).tracking.report_to == names


def test_what_is_no_tracker_is_named() -> None:
    with pytest.raises(ConfigError, match="report_to must be one of mlflow, tensorboard, wandb, swanlab, none"):
        resolve(read_flags({"report_to": ["mlflow", "all"]}))
    with pytest.raises(ConfigError, match="report_to is none, or names trackers, not both: none wandb"):
        resolve(read_flags({"report_to": ["none", "wandb"]}))


@pytest.mark.parametrize(("trackers", "has_effect"), [(["tensorboard"], False), (["tensorboard", "swanlab"], True)])
def test_the_name_of_the_experiment_needs_a_tracker_that_has_it(
    trackers: list[str], has_effect: bool, tmp_path: Path
) -> None:
    flags = {"report_to": trackers, "experiment_name": "birds"}
    sentence = "--experiment_name has no effect with --report_to none or tensorboard"
    assert effects.idle_in_training(flags, resolve(read_flags(flags)), tmp_path) == ([] if has_effect else [sentence])
