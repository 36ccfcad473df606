"""The parts of export that the stages' own tests do not reach."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import ConfigError, MartletError
from components.export import (
    QUANTIZERS,
    Answers,
    agreement,
    compare,
    end_of_turn,
    following,
    greedy_answers,
    model_card,
    prompt_rows,
    quantized_card,
    quantized_size,
    require_close,
    require_following,
    samples,
    save_stop_tokens,
    size,
    token_rows,
)
from components.export.merged import save_merged
from components.files import read_json, write_json
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


def token_file(file: Path, shape: str, columns: dict[str, list[list[int]]], **beside: list[str]) -> Path:
    """A token file with these lists in its columns, and these texts."""
    ragged = {
        name: Ragged(np.concatenate([[], *lists]), np.cumsum([0, *map(len, lists)])) for name, lists in columns.items()
    }
    count = len(next(iter(columns.values())))
    batch = to_batch(shape, ragged, ["rows.jsonl"] * count, list(range(count)), beside=beside)
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
    assert token_rows(token_file(tmp_path / "train.arrow", "preference", columns, margin=["0"])) == [[1, 2, 3]]


def test_prompts_end_where_the_answer_begins(tmp_path: Path) -> None:
    labels = [[-100, -100, -100, 4, 5], [-100, 2, -100, 4, 5]]
    sft = token_file(tmp_path / "sft.arrow", "sft", {"input_ids": [[1, 2, 3, 4, 5]] * 2, "labels": labels})
    assert prompt_rows(sft) == [[1, 2, 3], [1]]
    assert prompt_rows(sft, max_tokens=2) == [[2, 3], [1]]
    text = token_file(tmp_path / "text.arrow", "text", {"input_ids": [[1, 2, 3, 4, 5]], "labels": [[1, 2, 3, 4, 5]]})
    assert prompt_rows(text) == [[1, 2]]
    columns = {"prompt_ids": [[1, 2]], "chosen_ids": [[3]], "chosen_labels": [[3]]}
    columns |= {"rejected_ids": [[4, 5]], "rejected_labels": [[4, 5]]}
    assert prompt_rows(token_file(tmp_path / "pairs.arrow", "preference", columns, margin=["0"])) == [[1, 2]]


def test_prompts_are_those_of_the_validation_rows_and_calibration_those_of_the_training(tmp_path: Path) -> None:
    train = [[n] * 300 for n in range(40)]
    token_file(
        tmp_path / "train.arrow", "sft", {"input_ids": train, "labels": [[-100] * 10 + row[10:] for row in train]}
    )
    assert samples(tmp_path).prompts_from == "training rows"
    token_file(tmp_path / "val.arrow", "sft", {"input_ids": [[99, 98, 97]], "labels": [[-100, -100, 97]]})
    drawn = samples(tmp_path, calibration_rows=20, max_length=280)
    assert (drawn.prompts, drawn.prompts_from) == ([[99, 98]], "validation rows")
    assert len(drawn.rows) == 8
    assert drawn.calibration == [[n] * 280 for n in range(0, 40, 2)]


def test_greedy_answers_are_those_of_generate_one_by_one(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():  # the tied weights of a random model repeat one token
        model.model.norm.weight.normal_(std=5)
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
    answers = greedy_answers(model, prompts, max_new_tokens=12)
    assert answers
    expected = [
        model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :].tolist()
        for prompt in prompts
    ]
    assert answers.ids == expected
    assert len({token for row in expected for token in row}) > 3
    model.generation_config.eos_token_id = [expected[0][4], expected[2][2]]
    ended = greedy_answers(model, prompts, max_new_tokens=12)
    assert ended
    assert ended.ids[2] == expected[2][: expected[2].index(expected[2][2]) + 1]


def test_agreement_is_counted_place_by_place() -> None:
    one, other = Answers([[1, 2, 3, 4], [5, 6]], 1.0), Answers([[1, 2, 9, 4, 4], [5, 6]], 2.0)
    figures = agreement(one, other)
    assert figures == {"prompts": 2, "tokens": 7, "token_agreement": 0.7143, "answer_agreement": 0.5}
    assert agreement(one, None) is None


def test_a_model_follows_itself_and_no_other_answers(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, prompts = AutoModelForCausalLM.from_pretrained(tiny_model), [[5, 6, 7], [8]]
    answers = greedy_answers(model, prompts, max_new_tokens=6)
    assert answers
    assert following(model, prompts, answers) == 1
    changed = Answers([answers.ids[0], [10, 20] * 3], 1.0)  # this model repeats its last token
    assert following(model, prompts, changed) == 0.5
    assert following(model, prompts, None) is None
    require_following("v", 0.71, 0.7)
    with pytest.raises(MartletError, match="v: the quantized model garbles: it chooses only 71% of the tokens"):
        require_following("v", 0.71, 0.72)


def test_bits_of_a_weight_count_what_lies_on_the_disk(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name, tensors in {
        "plain": {"a.weight": torch.zeros(64, 64), "b.weight": torch.zeros(64)},
        "half": {
            "a.weight": torch.zeros(64, 64, dtype=torch.int8),
            "a.SCB": torch.zeros(64),
            "b.weight": torch.zeros(64),
        },
    }.items():
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
    plain, half = size(tmp_path / "plain"), quantized_size(tmp_path / "plain", tmp_path / "half", ".SCB")
    assert plain["weights"] == half["weights"] == 64 * 65
    assert plain["bits_per_weight"] == pytest.approx(32, rel=0.02)  # and the header of the file
    assert half["bits_per_weight_after"] == pytest.approx(8 + 2 * 32 / 65, rel=0.05)
    assert (half["quantized_layers"], half["bytes_before"]) == (1, plain["bytes"])
    with pytest.raises(MartletError, match="no layer of the model is quantized"):
        quantized_size(tmp_path / "plain", tmp_path / "half", ".qweight")
    with pytest.raises(MartletError, match="the weights take"):
        quantized_size(tmp_path / "half", tmp_path / "plain", "weight")


def test_a_model_that_still_carries_its_adapter_is_not_saved(tmp_path: Path, tiny_model: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(MartletError, match="not merged: 6 tensors of the adapter are left"):
        save_merged(adapted, tiny_model, AutoTokenizer.from_pretrained(tiny_model), tmp_path)
    assert not list(tmp_path.iterdir())


def test_quantizers_are_files() -> None:
    assert QUANTIZERS.load("bnb-nf4").TENSOR == ".quant_state.bitsandbytes__nf4"
    with pytest.raises(ConfigError, match="choose one of awq-int4, bnb-int8, bnb-nf4, fp8, gptq-int4, gptq-int8"):
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


def test_the_card_of_a_quantized_model_names_its_parent_and_keeps_its_lineage() -> None:
    report = {"variant": "bnb-nf4", "parent": {"sha256": "p" * 64}, "against_parent": {"argmax_agreement": 0.99}}
    report |= {"greedy": {"token_agreement": 0.875}, "bits_per_weight_after": 4.5, "config": {"load_in_4bit": True}}
    parent = "---\nbase_model: Qwen/Qwen3-0.6B\n---\n# x, fine-tuned\n\n## Base\n\n| model | Qwen/Qwen3-0.6B |\n"
    card = quantized_card("merged", report, parent)
    assert "# merged, bnb-nf4\n" in card
    assert "\nbase_model: Qwen/Qwen3-0.6B\n" in card
    for fact in (
        "p" * 64,
        "| token_agreement | 0.875 |",
        "| bits_per_weight_after | 4.5 |",
        "| argmax_agreement | 0.99 |",
    ):
        assert fact in card
    assert card.endswith("## Base\n\n| model | Qwen/Qwen3-0.6B |\n")
    assert "base_model" not in quantized_card("merged", report | {"greedy": None})


def test_settings_of_generation_end_at_the_tag_of_the_template(tmp_path: Path) -> None:
    tok = tokenizer(STYLES["llama3"])
    save_stop_tokens(tmp_path, tok)
    assert not list(tmp_path.iterdir())  # a model that writes no text has no such settings
    write_json(tmp_path / "generation_config.json", {"eos_token_id": 1, "top_k": 7})
    save_stop_tokens(tmp_path, tok)
    settings = read_json(tmp_path / "generation_config.json")
    assert settings == {
        "eos_token_id": [1, *([tok.eos_token_id] if tok.eos_token_id != 1 else []), end_of_turn(tok)],
        "top_k": 7,
    }
