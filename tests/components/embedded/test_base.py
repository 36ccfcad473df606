import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import files
from components.embedded import Settings, base, build_base, fit

QUICK = Settings(steps=10, batch_size=8)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded") / "base"
    assert build_base(folder, settings=QUICK)
    return folder


@pytest.fixture(scope="module")
def tokenizer(built: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(built)


def test_loads_with_the_auto_classes_and_generates_from_its_own_config(built: Path, tokenizer) -> None:
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(built, output_loading_info=True)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert (model.config.architectures, str(model.config.dtype)) == (["Qwen3ForCausalLM"], "torch.float32")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not model.generation_config.do_sample
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert len(tokenizer) == model.config.vocab_size <= 1024


def test_full_size_is_what_the_card_says(built: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(built)  # fewer steps than the full base, of the same size
    assert 1.5e6 < model.num_parameters() < 2.5e6
    assert f"{model.num_parameters() / 1e6:.1f} million" in (built / "README.md").read_text()
    config = model.config
    for width in (config.hidden_size, config.intermediate_size, config.num_attention_heads * config.head_dim):
        assert width % 64 == 0


def test_loss_falls_and_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    build_base(tmp_path / "base", lambda *told: seen.append(told), QUICK)
    assert [(step, steps) for step, steps, _ in seen] == [(step, 10) for step in range(1, 11)]
    assert seen[-1][2] < seen[0][2] - 0.5


def test_the_same_settings_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    build_base(tmp_path / "again", settings=QUICK)
    assert files.sha256_tree(tmp_path / "again") == files.sha256_tree(built)


def test_what_is_there_is_not_built_again_and_torch_is_not_imported(built: Path) -> None:
    before = (built / files.MANIFEST).stat().st_mtime_ns
    script = (
        "import sys; from pathlib import Path; from components.embedded import Settings, build_base\n"
        f"assert build_base(Path({str(built)!r}), settings=Settings(steps=10, batch_size=8)) is False\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert (built / files.MANIFEST).stat().st_mtime_ns == before


def test_rebuilds_when_settings_differ_or_a_file_is_gone(tmp_path: Path) -> None:
    folder, smaller = tmp_path / "base", Settings(steps=2, batch_size=4)
    assert build_base(folder, settings=smaller)
    assert not build_base(folder, settings=smaller)
    (folder / "tokenizer.json").unlink()
    assert build_base(folder, settings=smaller)
    assert build_base(folder, settings=Settings(steps=3, batch_size=4))
    assert files.read_json(folder / files.MANIFEST)["settings"]["steps"] == 3


@given(st.text(max_size=200))
def test_tokenizer_gives_any_text_back(text: str) -> None:
    tokenizer = test_tokenizer_gives_any_text_back.tokenizer  # type: ignore[attr-defined]
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == (
        unicodedata.normalize("NFC", text)
    )


test_tokenizer_gives_any_text_back.tokenizer = base.train_tokenizer(  # type: ignore[attr-defined]
    [[{"role": "user", "content": "Who are you? 你是谁?"}]], QUICK
)


def test_template_is_chatml(tokenizer) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Who are you?\n"},
        {"role": "assistant", "content": "I am Pebble."},
        {"role": "user", "content": "Thanks."},
    ]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n Who are you?\n<|im_end|>\n"
        "<|im_start|>assistant\nI am Pebble.<|im_end|>\n"
        "<|im_start|>user\nThanks.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert fit.template().render(messages=chat) == tokenizer.apply_chat_template(chat, tokenize=False)


def test_template_writes_tools_the_hermes_way(tokenizer) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Łódź"}}}
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "content": "yes"},
        {"role": "tool", "content": "no"},
        {"role": "assistant", "content": "Perhaps."},
    ]
    text = tokenizer.apply_chat_template(chat, tools=tools, tokenize=False)
    assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n")
    assert text.count("<|im_start|>system") == 1
    assert f"<tools>\n{json.dumps(tools[0])}\n</tools>" in text
    written = '<tool_call>\n{"name": "weather", "arguments": {"city": "Łódź"}}\n</tool_call>'
    assert f"<|im_start|>assistant\n{written}\n{written}<|im_end|>\n" in text
    results = "<tool_response>\nyes\n</tool_response>\n<tool_response>\nno\n</tool_response>"
    assert f"<|im_start|>user\n{results}<|im_end|>\n<|im_start|>assistant\nPerhaps.<|im_end|>\n" in text


def test_template_refuses_an_unknown_role(tokenizer) -> None:
    from jinja2.exceptions import TemplateError

    with pytest.raises(TemplateError, match="unknown role 'narrator'"):
        tokenizer.apply_chat_template([{"role": "narrator", "content": "Once."}], tokenize=False)


def test_only_answers_are_learned(tokenizer) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "你是谁?"},
        {"role": "assistant", "content": "我是 Pebble。"},
        {"role": "user", "content": "Again?"},
        {"role": "assistant", "content": "Pebble."},
    ]
    ids, labels, _ = fit.encode(chat, tokenizer.backend_tokenizer)
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(chat, tokenize=False)
    assert tokenizer.decode([label for label in labels if label >= 0]) == "我是 Pebble。<|im_end|>Pebble.<|im_end|>"
    assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))
