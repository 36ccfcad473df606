"""What a user types, and what the terminal answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import Command

HEAVY = (
    "torch",
    "transformers",
    "mlflow",
    "prefect",
    "dvc",
    "pandas",
    "pyarrow",
    "polars",
    "great_expectations",
    "rich",
)
ROOT = Path(__file__).parents[2]


def martlet(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return Command(cwd, *words).wait()


def imported_by(words: list[str], folder: Path) -> set[str]:
    code = f"import sys; from apps.cli.main import dispatch; dispatch({words!r}); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    return {name.partition(".")[0] for name in ran.stderr.split()}


@pytest.mark.parametrize("words", [["--help"], ["validate"]], ids=" ".join)
def test_nothing_heavy_is_imported(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: {learning_rate: 0.01}\n")
    modules = imported_by(words, tmp_path)
    assert "apps" in modules
    assert not modules.intersection(HEAVY)


@pytest.mark.parametrize(
    "command", ["sft", "infer", "deploy", "export", "run", "promote", "rollback", "validate", "demo"]
)
def test_every_command_has_help(command: str) -> None:
    shown = martlet(command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert f"usage: martlet {command}" in shown.stdout


def test_sft_help_shows_every_parameter_in_groups() -> None:
    text = martlet("sft", "--help").stdout.partition("options:")[2]
    assert (
        text.index("\ntuner:") < text.index("--lora_rank") < text.index("\ntrain:") < text.index("\n  --learning_rate")
    )


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["snft"], 2, "unknown command 'snft' (did you mean 'sft'?)"),
        (["sft"], 2, "--model is needed; --dataset is needed"),
        (["sft", "--lora_rnk", "8"], 2, "unknown flag --lora_rnk (did you mean 'lora_rank'?)"),
        (["sft", "--model", "m", "--dataset", "d", "--lora_rank", "x", "--seed", "y"], 2, "2 problems"),
        (["validate", "recipes/absent.yaml"], 2, "recipes/absent.yaml: no such file"),
        (["infer", "--adapters", "nowhere"], 2, "--adapters nowhere: no such folder"),
        (["infer", "--adapters", "a", "b"], 2, "one folder at a time"),
    ],
)
def test_mistakes_are_answered_in_words(words: list[str], code: int, expected: str) -> None:
    answer = martlet(*words)
    assert answer.returncode == code
    assert answer.stderr.startswith("martlet: ")
    assert expected in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_engine_that_is_misspelt_is_answered_in_words(tiny_model: Path) -> None:
    answer = martlet("infer", "--model", str(tiny_model), "--infer_backend", "vlm")
    assert answer.returncode == 2
    assert answer.stderr.startswith("martlet: infer_backend: there is no engine 'vlm' (did you mean 'vllm'?)")


def test_validate_names_every_missing_file_and_unknown_tuner(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("dataset: [absent.jsonl, b.parquet]\ntrain_type: lorra\n")
    answer = martlet("validate", cwd=tmp_path)
    assert answer.returncode == 2
    assert "data.dataset: dataset 'absent.jsonl': no such file" in answer.stderr
    assert "data.dataset: dataset 'b.parquet': no such file" in answer.stderr
    assert "tuner_type: there is no tuner 'lorra' (did you mean 'lora'?); choose one of adalora" in answer.stderr


def test_doctor_reports_and_changes_nothing(tmp_path: Path) -> None:
    answer = martlet("doctor", cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout
    assert "torch" in answer.stdout
    assert list(tmp_path.iterdir()) == []
