"""The parts of export that the stages' own tests do not reach."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import ConfigError, MartletError
from components.export import QUANTIZERS, chat_rows, compare, end_of_turn, model_card, require_close, token_rows
from components.export.merged import save_merged
from components.rows import Row, rows_writer, to_arrow
from components.tokens import Ragged, to_batch, tokens_writer
from tests.components.templates.styles import STYLES, tokenizer


def test_figures_of_two_models() -> None:
    one = [torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[0.0, 5.0]])]
    other = [torch.tensor([[1.0, 2.5], [0.0, 1.0]]), torch.tensor([[0.0, 5.0]])]
    figures = compare(one, other)
    assert figures["tokens"] == 3
    assert figures["max_abs_difference"] == 3.0
    assert figures["mean_abs_difference"] == pytest.approx(3.5 / 6, rel=1e-3)
    assert figures["argmax_agreement"] == pytest.approx(2 / 3, abs=1e-6)
    with pytest.raises(MartletError, match=r"here: the logits differ by up to 3 over 3 tokens"):
        require_close("here", one, other, 2.9)
    assert require_close("here", one, other, 3.0) == figures


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_difference_that_is_no_number_never_passes(bad: float) -> None:
    with pytest.raises(MartletError, match="not finite"):
        require_close("here", [torch.tensor([[bad, 1.0]])], [torch.tensor([[bad, 1.0]])], 1.0)


def test_other_vocabularies_are_not_compared() -> None:
    with pytest.raises(MartletError, match="different shapes"):
        compare([torch.zeros(2, 3)], [torch.zeros(2, 4)])


@pytest.mark.parametrize(
    ("style", "tag"),
    [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("gemma", "<end_of_turn>"), ("phi", "<|end|>")],
)
def test_an_answer_ends_at_the_tag_of_the_template(style: str, tag: str) -> None:
    tok = tokenizer(STYLES[style])
    assert end_of_turn(tok) == tok.convert_tokens_to_ids(tag)


def test_no_template_names_no_end() -> None:
    assert end_of_turn(tokenizer(None)) is None


def token_file(file: Path, shape: str, columns: dict[str, list[list[int]]]) -> Path:
    """A token file with these lists in its columns."""
    ragged = {
        name: Ragged(np.concatenate([[], *lists]), np.cumsum([0, *map(len, lists)])) for name, lists in columns.items()
    }
    count = len(next(iter(columns.values())))
    batch = to_batch(shape, ragged, ["rows.jsonl"] * count, list(range(count)))
    with tokens_writer(file, batch.schema) as writer:
        writer.write_batch(batch)
    return file


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_rows_are_spread_over_the_file_and_cut(tmp_path: Path, rows: int) -> None:
    ids = [[n] * 300 for n in range(rows)]
    file = token_file(tmp_path / "train.arrow", "sft", {"input_ids": ids, "labels": ids})
    expected = {1: [0], 5: [0, 1, 2, 3, 4], 100: [0, 20, 40, 60, 80]}[rows]
    assert token_rows(file, count=5, max_tokens=7) == [[n] * 7 for n in expected]


def test_a_token_file_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MartletError, match="no rows"):
        token_rows(token_file(tmp_path / "train.arrow", "sft", {"input_ids": [], "labels": []}))


def test_a_damaged_token_file_is_an_error(tmp_path: Path) -> None:
    file = token_file(tmp_path / "train.arrow", "sft", {"input_ids": [[1] * 300], "labels": [[1] * 300]})
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff" * 500, whole[:500] + b"\xff" * (len(whole) - 500)):
        file.write_bytes(content)
        with pytest.raises(MartletError, match=r"train\.arrow: the token file is damaged; remove it, and run again"):
            token_rows(file)


def test_a_preference_is_compared_on_its_prompt_and_chosen_answer(tmp_path: Path) -> None:
    columns = {"prompt_ids": [[1, 2]], "chosen_ids": [[3]], "chosen_labels": [[3]]}
    columns |= {"rejected_ids": [[4, 5]], "rejected_labels": [[4, 5]]}
    assert token_rows(token_file(tmp_path / "train.arrow", "preference", columns)) == [[1, 2, 3]]


CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
QUESTION = {"role": "user", "content": "Rain?"}
CLEAN_ROWS: dict[str, tuple[Row, str]] = {
    "tools": (
        {"messages": [QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": TOOLS},
        "weather|user:Rain?|assistant:Oslo|",
    ),
    "preference": (
        {
            "prompt": [QUESTION],
            "chosen": [{"role": "assistant", "content": "No"}],
            "rejected": [{"role": "assistant", "content": "Yes"}],
        },
        "user:Rain?|assistant:No|",
    ),
    "judged": (
        {"prompt": [QUESTION], "completion": [{"role": "assistant", "content": "No"}], "label": True},
        "user:Rain?|assistant:No|",
    ),
    "prompt": ({"prompt": [QUESTION]}, "user:Rain?|"),
    "text": ({"text": "It rains."}, "It rains."),
}
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name }}|{% endfor %}"
    "{% for message in messages %}{{ message.role }}:{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function.arguments.city }}{% endfor %}|{% endfor %}"
)


@pytest.mark.parametrize("kind", CLEAN_ROWS)
def test_clean_rows_of_every_kind_are_rendered(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    from transformers import AutoTokenizer

    row, expected = CLEAN_ROWS[kind]
    with rows_writer(tmp_path / "train.parquet") as writer:
        writer.write_batch(to_arrow([row], ["rows.jsonl"], [0]))
    tok = AutoTokenizer.from_pretrained(tiny_model)
    tok.chat_template = TEMPLATE
    assert [tok.decode(ids) for ids in chat_rows(tmp_path / "train.parquet", tok)] == [expected]


def test_clean_rows_are_spread_over_the_batches(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    rows: list[Row] = [{"text": str(n)} for n in range(100)]
    with rows_writer(tmp_path / "train.parquet") as writer:
        for start in (0, 30, 90):
            part = rows[start : {0: 30, 30: 90, 90: 100}[start]]
            writer.write_batch(to_arrow(part, ["rows.jsonl"] * len(part), list(range(len(part)))))
    tok = AutoTokenizer.from_pretrained(tiny_model)
    texts = [tok.decode(ids) for ids in chat_rows(tmp_path / "train.parquet", tok, count=5)]
    assert texts == ["0", "20", "40", "60", "80"]


def test_a_model_that_still_carries_its_adapter_is_not_saved(tmp_path: Path, tiny_model: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(MartletError, match="not merged: 6 tensors of the adapter are left"):
        save_merged(adapted, tiny_model, AutoTokenizer.from_pretrained(tiny_model), tmp_path)
    assert not list(tmp_path.iterdir())


def test_quantizers_are_files() -> None:
    assert QUANTIZERS.load("bnb-nf4").LAYER == "Linear4bit"
    with pytest.raises(ConfigError, match="choose one of bnb-int8, bnb-nf4"):
        QUANTIZERS.load("_bitsandbytes")


def test_the_card_names_a_base_only_where_the_hub_knows_it() -> None:
    trained = {"tuner": {"modules_to_save": []}, "lora": {"lora_rank": 8}, "train": {"learning_rate": 1e-4}}
    data = dict.fromkeys(("rows", "samples", "learnable_tokens", "system", "max_length"), None)
    data |= {"template_sha256": "t" * 64, "tokenizer_sha256": "k" * 64, "system": "a | b\nc"}
    local = {"model": "models/base", "source": "local", "revision": None, "sha256": "s" * 64}
    hub = {"model": "Qwen/Qwen3-0.6B", "source": "huggingface", "revision": "abc", "sha256": None}
    card = model_card(local, trained, data, "d" * 64, {}, {"merged": None})
    assert "base_model:" not in card
    assert "# base, fine-tuned" in card
    assert "| system | a \\| b c |" in card
    assert "modules_to_save" not in card
    assert "lora_rank" not in card
    adapted = {**trained, "vera": {"vera_rank": 16}}
    vera = model_card(local, adapted, data, "d" * 64, {}, {"merged": None}, ["vera"])
    assert "| vera_rank | 16 |" in vera
    assert "lora_rank" not in vera
    assert "\nbase_model: Qwen/Qwen3-0.6B\n" in model_card(
        hub, trained, data, "d" * 64, {"loss": 0.5}, {"merged": None}
    )
