"""Code in a model's folder: it runs where the user allowed it for this folder, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from components.errors import ConfigError
from components.export.card import DATA, model_card
from components.models import code, copy_companions, folder, load_model, load_tokenizer, resolve
from tasks import target
from tests.commands import martlet

MODEL = """
from pathlib import Path

import torch
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

Path(__file__).with_name("ran").touch()


class OwnConfig(PreTrainedConfig):
    model_type = "own"


class Mix(torch.nn.Module):
    # adds to each token what is made of the mean of the tokens up to it

    def __init__(self, size):
        super().__init__()
        self.up, self.down = torch.nn.Linear(size, 2 * size), torch.nn.Linear(2 * size, size)

    def forward(self, hidden, mask):
        mean = (hidden * mask).cumsum(1) / mask.cumsum(1).clamp(min=1)
        return hidden + self.down(self.up(mean).relu())


class OwnForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = torch.nn.ModuleList(Mix(config.hidden_size) for _ in range(config.num_hidden_layers))
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        hidden = self.embed_tokens(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        for layer in self.layers:
            hidden = layer(hidden, mask[..., None].to(hidden.dtype))
        return CausalLMOutput(logits=self.lm_head(hidden))
"""
WEIGHTS = {"up": (32, 16), "down": (16, 32)}
"""Shapes of the linear layers of a `Mix`."""
TOKENIZER = """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


def edit(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def own(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of an architecture that no library has, whose class and tokenizer lie in its folder; what transformers
    copies of them lies in the test's."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(code, "_ALLOWED", set())
    copy = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    (copy / "modeling_own.py").write_text(MODEL)
    (copy / "tokenization_own.py").write_text(TOKENIZER)
    auto = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    size = json.loads((copy / "config.json").read_text())["vocab_size"]
    settings = {"architectures": ["OwnForCausalLM"], "model_type": "own", "vocab_size": size, "hidden_size": 16,
                "num_hidden_layers": 2}  # fmt: skip
    (copy / "config.json").write_text(json.dumps({**settings, "auto_map": auto}))
    layers = {f"layers.{n}.{name}": shape for n in range(2) for name, shape in WEIGHTS.items()}
    layers |= {"embed_tokens": (size, 16), "lm_head": (size, 16)}
    biases = {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items() if name.startswith("layers")}
    weights = {f"{name}.weight": torch.randn(shape) / 4 for name, shape in layers.items()}
    save_file(weights | biases, copy / "model.safetensors", {"format": "pt"})
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


def test_a_model_of_its_own_code_is_trained_answers_and_is_merged(own: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "Hi", "response": "Hello there"}\n' * 2)
    train = ("sft", "--model", own, "--dataset", "rows.jsonl", "--max_steps", 1, "--report_to", "none",
             "--add_version", "false", "--output_dir", "run", "--on_duplicate", "ignore")  # fmt: skip
    assert "code in the model's folder runs only with --trust_remote_code true" in martlet(tmp_path, *train, code=2)
    output = martlet(tmp_path, *train, "--trust_remote_code", "true")
    assert "talk to it:  martlet infer --adapters run/checkpoint-1 --trust_remote_code true\n" in output
    arguments = json.loads((tmp_path / "run/checkpoint-1/args.json").read_text())
    assert arguments["model"]["trust_remote_code"] is True
    merge = ("export", "--adapters", "run/checkpoint-1", "--merge_lora", "true", "--output_dir", "merged")
    assert "--trust_remote_code" in martlet(tmp_path, *merge, code=2)
    martlet(tmp_path, *merge, "--trust_remote_code", "true")
    assert (tmp_path / "merged/modeling_own.py").is_file()
    answer = ("infer", "--adapters", "run/checkpoint-1", "--trust_remote_code", "true", "--max_new_tokens", 4)
    assert martlet(tmp_path, *answer, text="Hi\n").strip()


def test_the_card_says_that_a_model_brings_its_own_code() -> None:
    identity = {"model": "own", "source": "local", "revision": None, "sha256": "1", "trust_remote_code": True}
    card = model_card(identity, {"tuner": {}, "train": {}}, dict.fromkeys(DATA), "2", {}, {"merged": {"rows": 1}})
    assert "This model brings its own code" in card
    assert "without remote code" not in card
    assert "| trust_remote_code | true |" in card
