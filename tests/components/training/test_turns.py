"""Conversations of several turns: what is learned of them, how they end, and how they go on after a stop."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

from components.errors import ConfigError, MartletError
from tests.components.training.runs import learn, prompt_rows, write_tokens
from tests.components.training.test_policies import SMALL, first_parts, trainer_of

STEP = """\
def step(conversation):
    number = conversation.columns["number"]
    if number == 3 and conversation.turn == 2:
        return None
    return [{"role": "user", "content": f"{number} {conversation.turn} {len(conversation.messages)}"}]


def rewards(samples, params):
    return [len(sample.messages) + sum(map(ord, sample.completion)) % 7 / 7 for sample in samples]
"""
BEHIND = "\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("prompts"), prompt_rows(6), prompt_rows(2, seed=1), "prompt")


def flags(folder: Path, step: str = STEP, **more: Any) -> dict[str, Any]:
    """The flags of a run on `step`, which is written into a plugin."""
    (folder / "mine.py").write_text(step)
    return more | {
        "multi_turn_scheduler": "mine",
        "beta": 0.0,
        "max_completion_length": 24,
        "stop_words": ["a", "e", "i"],
    }


def sampled(
    base: Path, tokens: Path, folder: Path, step: str = STEP, lines: list[Any] | None = None, **params: Any
) -> tuple[Any, Any, list[Any]]:
    """The trainer, the batch of its first step, and the conversations; `lines` gets what is reported."""
    trainer = trainer_of(base, tokens, folder, folder / "mine.py", **flags(folder, step) | params)
    trainer.job.report = (lines if lines is not None else []).append
    answers: list[Any] = []
    sample = trainer.rollouts.sample
    trainer.rollouts.sample = lambda *given: answers.extend(sample(*given)) or answers
    [batch], _ = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
    return trainer, batch, answers


def test_the_ids_of_a_conversation_are_those_generated_and_those_rendered_between(
    tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    trainer, batch, answers = sampled(tiny_model, prompts, tmp_path, max_turns=3, max_completion_length=40)
    tokenizer, rows = trainer.job.tokenizer, first_parts(trainer)[0]
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        own = batch["owners"] == number
        prompt, n = row["prompt_ids"].tolist(), row["extra"]["number"]
        assert batch["input_ids"][own].tolist() == prompt + answer.ids
        labels = batch["token_labels"][own].tolist()
        assert labels[: len(prompt)] == [-100] * len(prompt)
        mask = [label >= 0 for label in labels[len(prompt) :]]
        pairs = list(zip(mask, answer.ids, labels[len(prompt) :], strict=True))
        assert all(label == token for is_generated, token, label in pairs if is_generated)
        pieces = [[token for _, token, _ in piece] for _, piece in groupby(pairs, lambda pair: pair[0])]
        assert mask[0] and len(pieces) == 2 * answer.turns - 1 == len(answer.messages)
        for turn, (before, given) in enumerate(zip(pieces[::2], pieces[1::2], strict=False), 1):
            ended = before[-1] == tokenizer.eos_token_id
            text = "" if ended else "<|im_end|>"
            text += BEHIND.format(f"{n} {turn} {2 * turn}")
            assert given == tokenizer.encode(text, add_special_tokens=False)
            assert answer.messages[2 * turn - 1]["content"] == f"{n} {turn} {2 * turn}"
        assert answer.text == answer.messages[-1]["content"]
        assert sum(mask) == answer.length <= 40
        assert answer.length == 40 or answer.turns == (2 if n == 3 else 3)
        assert answer.length == 40 or not answer.is_truncated
    assert {2, 3} <= {answer.turns for answer in answers}


def test_a_stopped_run_of_several_turns_ends_with_the_weights_that_it_would_have_had(
    tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    more = {"reward_funcs": ["mine"], "max_steps": 4, "eval_steps": 2, "save_steps": 2, "lora_dropout": 0.1}
    settings = flags(tmp_path, STEP, **{**SMALL, **more}, external=[tmp_path / "mine.py"])
    whole = learn(tiny_model, prompts, tmp_path / "whole", **settings)
    with pytest.raises(MartletError, match="stopped at step"):
        learn(tiny_model, prompts, tmp_path / "parts", hazard=("interrupt", 1), **settings)
    rest = learn(tiny_model, prompts, tmp_path / "parts", **settings)
    assert rest.history == whole.history
    weights = [(tmp_path / way / "final/adapter_model.safetensors").read_bytes() for way in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert all(entry["num_turns"] > 1.2 for entry in whole.history if "loss" in entry)
    assert any(entry.get("eval_num_turns", 0) > 1 for entry in whole.history)


def test_a_conversation_ends_where_the_models_context_does(tiny_model: Path, prompts: Path, tmp_path: Path) -> None:
    long = STEP.replace('f"{number} {conversation.turn} {len(conversation.messages)}"', '"again " * 600')
    _, batch, answers = sampled(tiny_model, prompts, tmp_path, long)
    assert {answer.turns for answer in answers} == {1}
    assert all(answer.is_truncated and len(answer.messages) == 1 for answer in answers)
    assert min(answer.length for answer in answers) < 24
    assert batch["input_ids"].shape[-1] < 400


def test_a_step_that_fails_on_some_conversations_ends_these(tiny_model: Path, prompts: Path, tmp_path: Path) -> None:
    fails = STEP.replace("    if", "    assert number == 3 or conversation.turn < 2\n    if")
    lines: list[Any] = []
    answers = sampled(tiny_model, prompts, tmp_path, fails, lines)[2]
    failed = [answer for answer in answers if answer.has_failed]
    assert 0 < len(failed) < 8
    assert {answer.turns for answer in failed} == {2}
    assert {"message": f"step 1: failed: mine on {len(failed)} of 8 answers"} in lines
    [shown] = [line["rollouts"] for line in lines if "rollouts" in line]
    assert any("<|im_start|>user\n" in rollout["completion"] for rollout in shown)


def test_a_step_that_writes_into_what_it_is_shown_changes_nothing(
    tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    writes = STEP.replace(
        "    return [",
        "    conversation.messages[-1]['content'] = ''\n    conversation.columns.clear()\n    return [",
        1,
    )
    assert writes != STEP
    plain, other = (sampled(tiny_model, prompts, tmp_path, step, max_turns=2)[2] for step in (STEP, writes))
    assert other == plain
    assert any(answer.turns == 2 for answer in plain)


@pytest.mark.parametrize(
    ("body", "params", "message"),
    [
        ("raise ValueError('no')", {}, "mine failed on all of 8 conversations: .*mine.py:2: ValueError: no"),
        ("return 'again'", {}, "mine: .*'step'.*; return a list of messages with the role tool or user, or None"),
        ("return [{'role': 'assistant', 'content': 'I'}]", {}, "mine: 'step' gave a message with the role assistant"),
        ("return [{'role': 'user', 'content': {1}}]", {}, "mine: .*not JSON serializable; return a list"),
        ("import time; time.sleep(5)", {"reward_timeout": 0.2}, "mine took longer than 0.2 s for 8 conversations"),
        ("return [{'role': 'tool', 'content': ''}]", {"multi_turn_scheduler": "other"}, "no turn scheduler 'other'"),
    ],
)  # fmt: skip
def test_a_bad_step_is_one_sentence(
    body: str, params: dict[str, Any], message: str, tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    step = f"def step(conversation):\n    {body}\n\ndef rewards(samples, params):\n    return [0.0] * len(samples)\n"
    with pytest.raises((ConfigError, MartletError), match=message):
        sampled(tiny_model, prompts, tmp_path, step, **params)


TOOL = {"type": "function", "function": {"name": "calculate", "parameters": {"type": "object"}}}
HERMES = (Path(__file__).parents[3] / "components/embedded/chat_template.jinja").read_text()
ASKED = [{"role": "user", "content": "3 + 4?"}]
CALL = {"type": "function", "function": {"name": "calculate", "arguments": {"sum": "3 + 4"}}}
CALLED = [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "7"},
    {"role": "assistant", "content": "It is 7."},
]


def test_a_model_calls_a_tool_and_reads_its_result(tiny_model: Path, tmp_path: Path) -> None:
    """The model is taught one conversation by heart; the scheduler is the example of the documents."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = HERMES
    whole = tokenizer.apply_chat_template(ASKED + CALLED, tools=[TOOL], return_dict=False)
    prompt = tokenizer.apply_chat_template(ASKED, tools=[TOOL], add_generation_prompt=True, return_dict=False)
    base = by_heart(tiny_model, tmp_path / "base", whole, len(prompt))
    tokenizer.save_pretrained(base)
    row = {"prompt_ids": prompt, "prompt": ASKED, "extra": {"tools": [TOOL]}}
    tokens = write_tokens(tmp_path / "tokens", [row, row], None, "prompt")
    reward = (
        "\ndef rewards(samples, params):\n    return [float(sample.completion == 'It is 7.') for sample in samples]\n"
    )
    step = (Path(__file__).parents[3] / "docs/plugins/calculator.py").read_text() + reward
    _, batch, answers = sampled(base, tokens, tmp_path, step, stop_words=[], temperature=0.1, max_completion_length=200)
    best = next(answer for answer in answers if answer.text == "It is 7.")
    assert prompt + best.ids == whole[:-1]  # behind the last end token a template writes a line break
    assert best.messages == [
        {**CALLED[0], "tool_calls": [{**CALL, "function": {"name": "calculate", "arguments": '{"sum": "3 + 4"}'}}]},
        *CALLED[1:],
    ]
    text = tokenizer.decode([token for token, mine in zip(best.ids, best.is_generated, strict=True) if not mine])
    assert text == "\n<|im_start|>user\n<tool_response>\n7\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    assert int((batch["token_labels"] >= 0).sum()) == sum(answer.length for answer in answers)


def by_heart(base: Path, folder: Path, ids: list[int], start: int) -> Path:
    """A model that goes on behind the first `start` of `ids` with the rest."""
    model = Qwen3ForCausalLM.from_pretrained(base)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    inputs = torch.tensor([ids])
    labels = inputs.clone()
    labels[:, :start] = -100
    loss = torch.tensor(1.0)
    while loss > 0.03:
        loss = model(input_ids=inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder
