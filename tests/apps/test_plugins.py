"""The examples of docs/plugins, each a file that adds a method with no other file edited, used by the commands."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file

from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import read_json
from components.tuners import TUNERS
from tasks import preflight
from tests.commands import martlet

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "docs/plugins"
TRAINED = "run/models/adapter/norms.safetensors"
SHORT = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1", "--report_to", "none",
         "--logging_steps", "1", "--add_version", "false", "--output_dir", "run"]  # fmt: skip


def write_rows(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_dataset_a_tuner_an_optimizer_a_loss_a_metric_and_a_callback_of_ones_own(
    tiny_model: Path, tmp_path: Path
) -> None:
    files = [PLUGINS / f"{name}.py" for name in ("sums", "norms", "signsgd", "focal", "brevity", "countdown")]
    output = martlet(
        tmp_path, "sft", "--model", tiny_model, "--dataset", "sums#40", "--learning_rate", 0.02, *SHORT,
        "--external_plugins", *files, "--tuner_type", "norms", "--optimizer", "signsgd", "--loss_type", "focal",
        "--callbacks", "countdown", "--split_dataset_ratio", 0.1, "--predict_with_generate", "true",
        "--eval_metric", "brevity", "--max_new_tokens", 8,
    )  # fmt: skip
    assert "17 steps left" in output
    report = read_json(tmp_path / "run/reports/train.json")
    assert "eval_brevity" in (tmp_path / "run/logs/train/progress.jsonl").read_text()
    assert report["trainable_parameters"] == 64 * 5 + 2 * 2 * 16
    assert report["loss"] < report["first_loss"]
    base, trained = (load_file(file) for file in (tiny_model / "model.safetensors", tmp_path / TRAINED))
    assert all(not (trained[name] - base[name]).abs().lt(1e-3).all() for name in trained)
    martlet(
        tmp_path, "infer", "--adapters", "run/checkpoint-27", "--external_plugins", *files[:2], "--max_new_tokens", 4,
        "--temperature", 0, "--val_dataset", "sums:large#2",
    )  # fmt: skip
    answers = [json.loads(line) for line in (tmp_path / "result.jsonl").read_text().splitlines()]
    assert [answer["labels"] for answer in answers] == ["It is 0.", "It is 1."]


def test_a_method_and_a_quantized_base_of_ones_own(tiny_model: Path, tmp_path: Path) -> None:
    """DPO by TRL's trainer on our pairs: the first loss is log 2, and the chosen answers win in the end."""
    data = write_rows(
        tmp_path / "pairs.jsonl",
        [{"prompt": [{"role": "user", "content": f"number {n}?"}], "chosen": [{"role": "assistant", "content": "yes"}],
          "rejected": [{"role": "assistant", "content": "no, never"}]} for n in range(40)],
    )  # fmt: skip
    output = martlet(
        tmp_path, "sft", "--model", tiny_model, "--dataset", data, "--num_train_epochs", 2, "--learning_rate", 5e-3,
        "--split_dataset_ratio", 0.1, "--lora_dropout", 0, "--save_steps", 9, *SHORT, "--method", "trl_dpo",
        "--quant_method", "fp4", "--external_plugins", PLUGINS / "trl_dpo.py", PLUGINS / "fp4.py",
    )  # fmt: skip
    history = [json.loads(line) for line in (tmp_path / "run/logs/train/progress.jsonl").read_text().splitlines()]
    steps = [line for line in history if "loss" in line and "step" in line]
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert steps[-1]["loss"] < 0.3
    assert steps[-1]["rewards/accuracies"] == 1.0
    assert any("eval_loss" in line for line in history)
    assert re.search(r"step 18/18  loss 0\.\d+  accuracy 1\.000  margin \d", output)
    assert re.search(r"step 18/18  eval loss 0\.\d+  eval accuracy \d\.\d+  eval margin ", output)
    report = read_json(tmp_path / "run/reports/train.json")
    assert report["rewards/margins"] == steps[-1]["rewards/margins"]
    assert {"eval_rewards/chosen", "eval_logps/rejected"} < report.keys()
    assert re.search(r"done: .* rewards/margins .* eval rewards/accuracies", output)
    assert "done:" in output and "logps" not in output
    page = (tmp_path / "run/reports/train.html").read_text()
    for title in ("reward", "accuracy", "margin", "entropy", "log-probability of the answers", "logits"):
        assert f"<h3>{title}<" in page
    template = read_json(tmp_path / "run/data/tokens/template.json")
    assert template["shape"] == "preference"
    saved = read_json(tmp_path / "run/checkpoint-18/args.json")
    assert (saved["method"]["method"], saved["quantization"]["quant_method"]) == ("trl_dpo", "fp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name", r"broken\.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("LEARNING_RATE = 1\nx = 1 / 0", r"broken\.py:2: ZeroDivisionError"),
        ("def wrap(:", r"broken\.py:1: SyntaxError"),
        ("LEARNING_RATE = 1", r"broken\.py: not a complete tuner: `load`, `merge`, `restore`, `save`, `wrap` missing"),
        (None, r"broken\.py: no such file"),
    ],
)
def test_a_broken_plugin_is_one_sentence_with_file_and_line(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "broken.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        TUNERS.load("broken", [file])


STOPS = """\
from transformers import TrainerCallback

class Stops(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 4

    def on_save(self, args, state, control, **kwargs):
        print("saved", state.global_step)

def callback(job):
    return Stops()
"""
RAISES = STOPS.replace("control.should_training_stop = state.global_step == 4", "raise ValueError(state.global_step)")


NOTHING = """\
LEARNING_RATE = 1e-3

def wrap(model, params, seed):
    return model.requires_grad_(False)

def save(model, folder, base=None): ...
def restore(model, folder): ...
def load(model, folder): ...
def merge(model): ...
"""
LOSS = "def losses(logits, targets, params):\n    return {}\n"


@pytest.fixture(scope="module")
def short(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The words of a run of eleven steps."""
    folder = tmp_path_factory.mktemp("data")
    data = write_rows(folder / "rows.jsonl", [{"query": f"{n}?", "response": f"it is {n}"} for n in range(44)])
    return ["sft", "--model", tiny_model, "--dataset", data, "--num_train_epochs", 1, *SHORT]


def test_a_callback_that_ends_the_training_leaves_a_checkpoint(short: list[object], tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(STOPS)
    words = ["--external_plugins", "stops.py", "--callbacks", "stops", "--save_steps", 3]
    output = martlet(tmp_path, *short, *words)
    assert "last checkpoint checkpoint-4" in output
    assert output.count("saved 4") == 1
    weights = [tmp_path / "run" / folder / "adapter_model.safetensors" for folder in ("checkpoint-4", "models/adapter")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("flag", "text", "code", "message"),
    [
        ("callbacks", "def callback(): ...", 2, "mine.py: not a callback: `callback` takes (job)"),
        ("callbacks", "def callback(job): return 5", 2, "`callback(job)` returns a TrainerCallback, not 5"),
        ("callbacks", RAISES, 1, "mine.py:5: ValueError: 1 (the traceback is in "),
        ("loss_type", "def losses(logits, targets): ...", 2, "not a loss: `losses` takes (logits, targets, params)"),
        ("loss_type", LOSS.format("logits.mean()"), 2, "loss_type: mine: `losses` returns a loss for each token, a"),
        (
            "loss_type",
            LOSS.format("targets.float()"),
            2,
            "loss_type: mine: no gradient flows from `losses` to the",
        ),
        ("loss_type", LOSS.format("None"), 2, "a tensor ["),
        ("loss_type", LOSS.format("logits[targets]"), 1, "mine.py:2: IndexError: index"),
        ("optimizer", "def build(model, params):\n    return params.nosuch", 1, "mine.py:2: AttributeError: 'Params'"),
        ("optimizer", "def build(model, params): return 5", 2, "`build(model, params)` returns an Optimizer, not 5"),
        (
            "optimizer",
            "import torch\ndef build(model, params): return torch.optim.SGD([torch.ones(1, requires_grad=True)])",
            2,
            "optimizer: mine: the Optimizer that `build` returns holds no weight of the model",
        ),
        ("tuner_type", NOTHING, 2, "tuner_type: mine leaves no weight of the model that learns"),
        (
            "tuner_type",
            NOTHING.replace("    return", "    "),
            2,
            "`wrap(model, params, seed)` returns the model, not None",
        ),
    ],
)
def test_an_error_in_a_plugin_is_told_with_its_line(
    short: list[object], tmp_path: Path, flag: str, text: str, code: int, message: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    error = martlet(tmp_path, *short, "--external_plugins", "mine.py", f"--{flag}", "mine", code=code)
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_dataset_that_ends_the_program_is_told_with_its_line(short: list[object], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def rows():\n    yield {'text': 'a'}\n    raise SystemExit('no db://ann:pw@host')"
    )
    plugin = ["--external_plugins", "mine.py"]
    for words in (["data", "diff", "mine", "mine"], [*short, "--dataset", "mine"]):
        error = martlet(tmp_path, *words, *plugin, code=1)
        assert f"martlet: external_plugins: {tmp_path}/mine.py:3: SystemExit: no db://•••@host" in error
        assert len(error.splitlines()) == 1


def test_names_of_methods_are_checked_before_anything_runs(tmp_path: Path) -> None:
    flags = {"tuner_type": "lorra", "optimizer": "adamv", "callbacks": ["lissa"], "method": "sftt", "loss_type": "dftt",
             "variants": ["x"], "quant_method": "bmb", "loss_scale": "hermess",
             "external_plugins": ["nowhere.py"]}  # fmt: skip
    sentences = preflight.missing(resolve(read_flags(flags)), tmp_path)
    text = "\n".join(sentences)
    for word in ("lora", "adamw", "lisa", "sft", "bnb", "hermes", "dft"):
        assert f"did you mean '{word}'?" in text
    assert "nowhere.py': no such file" in text
    assert len(sentences) == 9


def test_a_tuner_and_a_dataset_that_an_installed_package_offers(tmp_path: Path) -> None:
    for name in ("norms", "sums"):
        (tmp_path / f"acme_{name}.py").write_bytes((PLUGINS / f"{name}.py").read_bytes())
    package = tmp_path / "acme-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[martlet.tuner]\nacme = acme_norms\n[martlet.dataset]\nacme = acme_sums\n"
    )
    code = (
        "from components.tuners import TUNERS; print(TUNERS.load('acme').LEARNING_RATE, 'acme' in TUNERS.names());"
        "from components.data import resolve; from pathlib import Path;"
        "print(resolve(['acme:large#3'], Path('/'), False, {}, None)[0].files[0][0].name)"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["0.001", "True", "acme_sums.py"]
