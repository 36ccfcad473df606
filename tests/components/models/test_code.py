"""Code in a model's folder: it runs where the user allowed it for this folder, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest

from components.errors import ConfigError
from components.export.card import DATA, model_card
from components.models import code, copy_companions, folder, load_model, load_tokenizer, resolve
from tasks import target
from tests.commands import martlet

MODEL = """
from pathlib import Path

from transformers import Qwen3Config, Qwen3ForCausalLM

Path(__file__).with_name("ran").touch()


class OwnConfig(Qwen3Config):
    model_type = "own"


class OwnForCausalLM(Qwen3ForCausalLM):
    config_class = OwnConfig
"""
TOKENIZER = """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


def edit(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def own(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose class and tokenizer lie in its folder, and the modules of transformers in the test's."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(code, "_ALLOWED", set())
    copy = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    (copy / "modeling_own.py").write_text(MODEL)
    (copy / "tokenization_own.py").write_text(TOKENIZER)
    auto = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    edit(copy / "config.json", architectures=["OwnForCausalLM"], model_type="own", auto_map=auto)
    edit(
        copy / "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]},
    )
    return copy


def ran(tmp_path: Path) -> bool:
    return any(tmp_path.rglob("ran"))


def test_without_permission_neither_model_nor_tokenizer_runs_code(own: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no OwnForCausalLM, and code in the model's folder runs only"):
        load_model(own)
    edit(own / "config.json", architectures=None)
    with pytest.raises(ConfigError):
        load_model(own)
    with pytest.raises(ConfigError, match="cannot be read: code in the model's folder runs only with"):
        load_tokenizer(own)
    assert not ran(tmp_path)


def test_with_permission_the_folder_is_loaded_and_so_is_what_is_made_of_it(own: Path, tmp_path: Path) -> None:
    identity = resolve("own", None, True, tmp_path, trust_remote_code=True)
    assert identity["trust_remote_code"] is True
    assert identity["sha256"]
    base = folder(identity, tmp_path)
    assert type(load_model(base)).__name__ == "OwnForCausalLM"
    assert type(load_tokenizer(base)).__name__ == "OwnTokenizer"
    assert ran(tmp_path)
    made = tmp_path / "made"
    made.mkdir()
    copy_companions(base, made)
    assert (made / "modeling_own.py").is_file()
    assert code.is_allowed(made)
    assert not code.is_allowed(tmp_path)


def test_code_of_a_hub_needs_a_commit_and_code_of_another_repository_is_refused(own: Path, tmp_path: Path) -> None:
    for revision in (None, "main"):
        with pytest.raises(ConfigError, match="at a commit that you have read; name it with --model_revision"):
            resolve("owner/name", revision, True, tmp_path, trust_remote_code=True)
    edit(own / "config.json", auto_map={"AutoModelForCausalLM": "other/code--modeling_own.OwnForCausalLM"})
    with pytest.raises(ConfigError, match="takes code from the repository other/code, whose version nothing pins"):
        folder(resolve("own", None, True, tmp_path, trust_remote_code=True), tmp_path)


def test_a_command_on_a_model_allows_its_code(own: Path) -> None:
    assert not code.is_allowed(target.find({"model": str(own)}).model)
    assert code.is_allowed(target.find({"model": str(own), "trust_remote_code": True}).model)


def test_a_model_of_its_own_code_is_trained_and_merged(own: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "Hi", "response": "Hello there"}\n' * 2)
    train = ("sft", "--model", own, "--dataset", "rows.jsonl", "--max_steps", 1, "--report_to", "none",
             "--add_version", "false", "--output_dir", "run", "--on_duplicate", "ignore")  # fmt: skip
    assert "code in the model's folder runs only with --trust_remote_code true" in martlet(tmp_path, *train, code=2)
    martlet(tmp_path, *train, "--trust_remote_code", "true")
    arguments = json.loads((tmp_path / "run/checkpoint-1/args.json").read_text())
    assert arguments["model"]["trust_remote_code"] is True
    merge = ("export", "--adapters", "run/checkpoint-1", "--merge_lora", "true", "--output_dir", "merged")
    assert "--trust_remote_code" in martlet(tmp_path, *merge, code=2)
    martlet(tmp_path, *merge, "--trust_remote_code", "true")
    assert (tmp_path / "merged/modeling_own.py").is_file()


def test_the_card_says_that_a_model_brings_its_own_code() -> None:
    identity = {"model": "own", "source": "local", "revision": None, "sha256": "1", "trust_remote_code": True}
    card = model_card(identity, {"tuner": {}, "train": {}}, dict.fromkeys(DATA), "2", {}, {"merged": {"rows": 1}})
    assert "This model brings its own code" in card
    assert "without remote code" not in card
    assert "| trust_remote_code | true |" in card
