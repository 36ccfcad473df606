"""Batches without padding: which rows share a pack, and that nothing but speed depends on it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import MambaConfig, MambaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from components.config import Params
from components.errors import ConfigError
from components.tokens import TokenRows
from components.training import Packs, settled, write_reports
from components.training.collators import Isolated, joining_pays
from components.training.documents import use_documents
from components.training.isolation import isolation_problem
from components.training.packing import pack
from tests.components.training.runs import MASKED, learn, some_rows, write_tokens

WAYS = {
    "padded": {"per_device_train_batch_size": 8, "padding_free": False},
    "by default": {"per_device_train_batch_size": 8},
    "accumulated": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "packed": {"packing": True, "packing_length": 30, "per_device_train_batch_size": 8},
    "packed in steps": {"packing": True, "packing_length": 40, "gradient_accumulation_steps": 8},
    "sequential": {"packing": True, "packing_length": 50, "packing_strategy": "sequential",
                   "per_device_train_batch_size": 8},
    "padding free": {"padding_free": True, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "grouped": {"group_by_length": True, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
}  # fmt: skip


def one_step(base, tokens, folder, **settings) -> tuple[float, float]:
    """Loss and norm of the gradient of the first step."""
    defaults = {"max_steps": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    first = learn(base, tokens, folder, **{**defaults, **settings}).history[0]
    return first["loss"], first["grad_norm"]


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(40, 60), st.sampled_from(["binpack", "sequential"]))
def test_every_row_is_in_one_pack_and_no_pack_is_too_long(lengths, capacity, strategy):
    given_lengths = np.array(lengths)
    order, bounds = pack(given_lengths, capacity, strategy)
    assert sorted(order) == list(range(len(lengths)))
    assert (bounds[0], bounds[-1]) == (0, len(lengths))
    sums = np.add.reduceat(given_lengths[order], bounds[:-1])
    assert sums.min() > 0
    assert sums.max() <= capacity
    again = pack(given_lengths, capacity, strategy)
    assert all((a == b).all() for a, b in zip(again, (order, bounds), strict=True))
    if strategy == "sequential":
        assert list(order) == list(range(len(lengths)))
        assert all(sums[i] + lengths[bounds[i + 1]] > capacity for i in range(len(sums) - 1))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 60))
def test_binpack_is_best_fit_decreasing(lengths, capacity):
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=lambda i: rooms[i])] -= length
        else:
            rooms.append(capacity - length)
    order, bounds = pack(np.array(lengths), capacity)
    sums = np.add.reduceat(np.array(lengths)[order], bounds[:-1])
    assert sorted(capacity - sums) == sorted(rooms)


def test_packs_of_chats_are_full():
    lengths = np.clip(np.random.default_rng(0).lognormal(4.1, 0.8, 20_000).astype(int), 4, 2048)
    _, bounds = pack(lengths, 2048)
    assert lengths.sum() / ((len(bounds) - 1) * 2048) >= 0.995


def test_a_row_longer_than_a_pack_is_named(tmp_path):
    tokens = write_tokens(tmp_path, [*some_rows(3), {"input_ids": list(range(40)), "labels": list(range(40))}])
    rows = TokenRows(tokens / "train.arrow")
    with pytest.raises(ConfigError, match=r"a\.jsonl, row 4 has 40 tokens and a pack holds 39; raise --packing_length"):
        Packs(rows, 39, "binpack")
    assert Packs(rows, None, "binpack").length == 40


def test_packs_are_as_long_as_rows_may_be_unless_told_otherwise():
    def packing_length(**values):
        params = Params.model_validate({"train": values, "template": {"max_length": 300}})
        return settled(params, 1e-4).train.packing_length

    assert packing_length(packing=True) == 300
    assert packing_length(packing=True, packing_length=500) == 500
    assert packing_length() is None


def test_rows_are_joined_where_that_costs_less_than_padding():
    rng = np.random.default_rng(0)
    mixed, equal = rng.integers(20, 300, 200), np.full(200, 512)
    assert joining_pays(mixed, 8, hidden_size=256)
    assert not joining_pays(equal, 8, hidden_size=256)  # no padding to save, and a longer line to mask
    assert not joining_pays(mixed * 20, 8, hidden_size=256)
    assert not joining_pays(mixed, 1, hidden_size=256)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "documents", "documents in a window"])
@pytest.mark.parametrize("one_line", [False, True])
def test_documents_on_a_line_answer_as_if_alone(tiny_model, attention, one_line):
    model = Qwen3ForCausalLM.from_pretrained(
        tiny_model, attn_implementation="eager" if attention == "eager" else "sdpa"
    ).eval()
    if "window" in attention:
        config = Qwen3Config.from_pretrained(tiny_model, sliding_window=4, use_sliding_window=True, max_window_layers=1)
        config.layer_types = ["sliding_attention", *config.layer_types[1:]]
        model = Qwen3ForCausalLM.from_pretrained(tiny_model, config=config, attn_implementation="sdpa").eval()
    rows = [{name: np.array(ids) for name, ids in row.items()} for row in some_rows(5)]
    batch = Isolated(0, one_line)([rows[:3], rows[3:]])
    lines = [rows] if one_line else [rows[:3], rows[3:]]
    with torch.no_grad():
        alone = [[model(torch.tensor(row["input_ids"])[None], use_cache=False).logits[0] for row in r] for r in lines]
        assert use_documents(model) or attention == "eager"
        if attention == "sdpa":
            model.set_attn_implementation("sdpa")
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    for found, documents in zip(packed, alone, strict=True):
        expected = torch.cat(documents)
        assert float((found[: len(expected)] - expected).abs().max()) <= 1e-5


def test_the_first_label_of_a_document_and_padding_are_not_learned():
    rows = [{"input_ids": np.arange(n) + 5, "labels": np.arange(n) + 5} for n in (3, 2, 4)]
    batch = Isolated(9, one_line=False)([rows[:2], rows[2:]])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 5, 6], [5, 6, 7, 8, 9]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100, 6], [-100, 6, 7, 8, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert rows[0]["labels"].tolist() == [5, 6, 7]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("learned", ["answers", "everything"])
def test_all_ways_of_batching_learn_the_same(tiny_model, tmp_path, learned):
    rows = some_rows(8)
    if learned == "everything":  # so that a label that crosses into the next document would show
        rows = [{**row, "labels": row["input_ids"]} for row in rows]
    tokens = write_tokens(tmp_path / "tokens", rows, some_rows(3, seed=1))
    found = {name: one_step(tiny_model, tokens, tmp_path / name, **settings) for name, settings in WAYS.items()}
    assert found == {name: pytest.approx(found["padded"], abs=1e-5) for name in WAYS}


def test_evaluation_does_not_depend_on_batches(tiny_model, tokens, tmp_path):
    settings = ({}, {"packing": True, "packing_length": 40}, {"padding_free": True, "per_device_eval_batch_size": 3})
    found = []
    for number, ways in enumerate(settings):
        outcome = learn(tiny_model, tokens, tmp_path / str(number), max_steps=1, learning_rate=1e-12, **ways)
        found.append(next(entry["eval_loss"] for entry in outcome.history if "eval_loss" in entry))
    assert found == [pytest.approx(found[0], abs=1e-5)] * 3


def test_weights_multiply_the_loss_of_a_token_and_not_the_count(tiny_model, tmp_path):
    row = some_rows(1)[0]
    model = Qwen3ForCausalLM.from_pretrained(tiny_model).eval()
    weights = [0.0 if label < 0 else 0.5 + i % 3 for i, label in enumerate(row["labels"])]
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
    each = torch.nn.functional.cross_entropy(logits, torch.tensor(row["labels"][1:]), reduction="none")
    expected = float((each * torch.tensor(weights[1:])).sum() / sum(label >= 0 for label in row["labels"][1:]))
    tokens = write_tokens(tmp_path / "tokens", [{**row, "loss_scale": weights}])
    assert one_step(tiny_model, tokens, tmp_path)[0] == pytest.approx(expected, abs=1e-5)


def test_weighted_rows_learn_the_same_in_all_batches_and_weights_of_one_change_nothing(tiny_model, tmp_path):
    rows, rng = some_rows(8), np.random.default_rng(0)
    weighted = [{**row, "loss_scale": rng.uniform(0, 3, len(row["labels"])).tolist()} for row in rows]
    ones = [{**row, "loss_scale": [1.0] * len(row["labels"])} for row in rows]
    tokens = write_tokens(tmp_path / "weighted", weighted, weighted[:3])
    found = {name: one_step(tiny_model, tokens, tmp_path / name, **settings) for name, settings in WAYS.items()}
    assert found == {name: pytest.approx(found["padded"], abs=1e-5) for name in WAYS}
    plain = one_step(tiny_model, write_tokens(tmp_path / "plain", rows), tmp_path / "p", **WAYS["padded"])
    assert found["padded"] != pytest.approx(plain, abs=1e-2)
    same = one_step(tiny_model, write_tokens(tmp_path / "ones", ones), tmp_path / "o", **WAYS["padded"])
    assert same == pytest.approx(plain, abs=1e-6)


def test_real_tokens_are_counted_and_the_fill_is_reported(tiny_model, tmp_path):
    pad = 0  # a row may contain the padding token; it is real there
    rows = [*some_rows(7), {"input_ids": [pad] * 9, "labels": MASKED * 4 + [pad] * 5}]
    tokens, total = write_tokens(tmp_path / "tokens", rows), sum(len(row["input_ids"]) for row in rows)
    for name in ("padded", "packed", "padding free"):
        settings = {"gradient_accumulation_steps": 1, **WAYS[name], "num_train_epochs": 1}
        outcome = learn(tiny_model, tokens, tmp_path / name, **settings)
        assert outcome.tokens == total
        summary = write_reports(outcome, tmp_path / name / "reports")
        if name == "packed":
            packs = summary["packing"]["packs"]
            assert summary["packing"] == {"packs": packs, "length": 30, "fill": round(total / (packs * 30), 5)}
            said = [json.loads(line) for line in (tmp_path / name / "progress.jsonl").read_text().splitlines()]
            assert f"8 rows in {packs} packs of 30 tokens" in said[0]["message"]
        else:
            assert "packing" not in summary


def test_a_model_that_mixes_documents_is_refused(tokens, tiny_model):
    rows = TokenRows(tokens / "train.arrow")
    model = Qwen3ForCausalLM.from_pretrained(tiny_model, use_cache=False).train()
    assert isolation_problem(model, rows) is None
    assert model.training
    mamba = MambaForCausalLM(MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1))
    assert "mamba " in str(isolation_problem(mamba, rows))
