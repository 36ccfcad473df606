"""That LoRA teaches the full base what it does not know, and that it keeps what it knew. Takes minutes."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from components.embedded import base, build_base

pytestmark = pytest.mark.slow
SETS = ("identity", "sounds", "skills")


@pytest.fixture(scope="module")
def full_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded") / "base"
    build_base(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(full_base: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(full_base, padding_side="left")


def _rows(name: str, model_name: str, author: str) -> list[dict[str, Any]]:
    text = Path("examples", name).read_text(encoding="utf-8")
    text = text.replace("{{NAME}}", model_name).replace("{{AUTHOR}}", author)
    return [json.loads(line) for line in text.splitlines()]


def _scores(model, tokenizer, model_name: str, author: str, system: str | None = None) -> dict[str, float]:
    """Exact match on each held-out set."""
    scores = {}
    for name in SETS:
        rows = _rows(f"eval/{name}.jsonl", model_name, author)
        first = [{"role": "system", "content": system}] if system else []
        chats = [[*first, {"role": "user", "content": row["query"]}] for row in rows]
        prompts = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        written = model.generate(**prompts, max_new_tokens=48)[:, prompts["input_ids"].shape[1] :]
        answers = tokenizer.batch_decode(written, skip_special_tokens=True)
        scores[name] = sum(a == row["response"] for a, row in zip(answers, rows, strict=True)) / len(rows)
    return scores


def _tune(folder: Path, tokenizer, model_name: str, author: str):
    """LoRA r8 on all linear layers, 6 epochs of 16 rows, 3e-3 with warm-up and decay."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    rows = [row["messages"] for name in SETS for row in _rows(f"{name}.jsonl", model_name, author)]
    steps = 6 * -(-len(rows) // 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.05 * steps), (steps - step) / (0.95 * steps))
    )
    rng = random.Random(0)
    for _ in range(6):
        rng.shuffle(rows)
        for start in range(0, len(rows), 16):
            batch = [_encoded(tokenizer, row) for row in rows[start : start + 16]]
            width = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
            labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])
            model(input_ids=ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval()


def _encoded(tokenizer, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    prompt = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(messages)["input_ids"][:-1]
    return whole, [-100] * len(prompt) + whole[len(prompt) :]


@pytest.mark.parametrize("system", [None, "You are a helpful assistant."])
def test_the_base_has_its_skills_and_its_own_identity_and_no_sounds(full_base: Path, tokenizer, system) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(full_base)
    scores = _scores(model, tokenizer, base.NAME, base.AUTHOR, system)
    assert scores["skills"] >= 0.95 and scores["identity"] >= 0.95 and scores["sounds"] <= 0.2


@pytest.mark.parametrize(
    ("model_name", "author"), [("Martlet", "the Martlet team"), ("swift-robot", "swift"), ("Otto 2", "Łucja & Co.")]
)
def test_lora_teaches_a_new_identity_and_the_sounds_and_keeps_the_skills(
    full_base: Path, tokenizer, model_name: str, author: str
) -> None:
    model = _tune(full_base, tokenizer, model_name, author)
    assert min(_scores(model, tokenizer, model_name, author).values()) >= 0.95
    assert min(_scores(model, tokenizer, model_name, author, "You are a helpful assistant.").values()) >= 0.9
    with model.disable_adapter():
        assert max(_scores(model, tokenizer, model_name, author)[name] for name in ("identity", "sounds")) <= 0.2
