import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError, MartletError
from components.inference import GenerationConfig, RequestError, stream_text
from tests.components.inference.local import local_engine, user

GREEDY = GenerationConfig(max_new_tokens=24, temperature=0)


def alone(engine: Any, ids: list[int], generation: GenerationConfig) -> list[int]:
    return engine.submit(ids, generation).result(60).token_ids


def prompts(engine: Any, count: int) -> list[list[int]]:
    return [engine.encode_chat(user("What is your name? " * (1 + i % 5) + str(i))) for i in range(count)]


def test_greedy_is_what_transformers_generates(engine: Any) -> None:
    import torch

    ids = prompts(engine, 1)[0]
    plain = engine.model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, eos_token_id=[*engine.eos])
    assert alone(engine, ids, GREEDY) == plain[0, len(ids) :].tolist()


def test_many_at_once_answer_as_each_alone(engine: Any) -> None:
    asked = prompts(engine, 20)  # more than fit one batch, of different lengths, with different limits
    settings = [GenerationConfig(max_new_tokens=3 + 5 * i % 40, temperature=0) for i in range(20)]
    expected = [alone(engine, ids, s) for ids, s in zip(asked, settings, strict=True)]
    futures = [engine.submit(ids, s) for ids, s in zip(asked, settings, strict=True)]
    assert [future.result(60).token_ids for future in futures] == expected
    assert len({tuple(ids) for ids in expected}) > 15


def test_a_short_request_does_not_wait_for_a_long_one(engine: Any) -> None:
    long_, short = prompts(engine, 2)
    settings = GenerationConfig(max_new_tokens=400, temperature=0, stop_words=["\n\n\n\n"])
    expected = alone(engine, long_, settings)
    assert len(expected) > 300
    started = []
    slow = engine.submit(long_, settings, started.append)
    while not started:
        time.sleep(0.001)
    quick = engine.submit(short, GenerationConfig(max_new_tokens=4, temperature=0))
    quick.result(60)
    assert not slow.done()
    assert slow.result(60).token_ids == expected  # although it was put aside and taken up again


def chunked_engine(model: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
    """An engine that reads prompts in 16 tokens at a time, and lets nobody wait who can have a turn."""
    from transformers import AutoTokenizer

    from components.inference import requests, slot_worker, transformers_engine

    monkeypatch.setattr(transformers_engine, "CPU_CHUNK_TOKENS", 16)
    monkeypatch.setattr(requests, "WAITING_S", 0)
    monkeypatch.setattr(slot_worker, "TURN_S", 0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return transformers_engine.TransformersEngine(model, tokenizer, lambda *_: [], **settings)


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
LENGTH_ROPE = {"rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", SIZES),
        ("mistral", {**SIZES, "sliding_window": 24}),
        ("gemma3_text", {**SIZES, "num_hidden_layers": 6, "sliding_window": 24}),
        ("gpt2", {"n_embd": 32, "n_head": 2, "n_layer": 2}),
        ("phi3", {**SIZES, "rope_parameters": {**LENGTH_ROPE, "rope_type": "longrope"}, "pad_token_id": 0}),
        ("mamba", {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_prompts_in_chunks_are_answered_as_at_once(
    name: str, settings: dict[str, Any], lively_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    lively = {"num_hidden_layers": 2, "vocab_size": 300, "initializer_range": 0.3, "eos_token_id": None}
    config = AutoConfig.for_model(name, **{**lively, **settings})
    if name == "phi3":
        config.original_max_position_embeddings = 48
        config.rope_parameters["original_max_position_embeddings"] = 48
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    asked = [torch.randint(3, 300, (length,)).tolist() for length in (70, 61, 33, 5)]
    asked = asked[:1] if name == "phi3" else asked  # its positions turn by the longest of a batch
    whole = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    expected = [model.generate(torch.tensor([ids]), **whole)[0, len(ids) :].tolist() for ids in asked]
    engine = chunked_engine(model, lively_model, monkeypatch)
    engine.eos = frozenset()
    engine.submit([5], GenerationConfig(max_new_tokens=1)).result(60)
    worker = "GenerateWorker" if name in ("phi3", "mamba") else "SlotWorker"
    assert type(engine._worker).__name__ == worker
    futures = [engine.submit(ids, GenerationConfig(max_new_tokens=12, temperature=0)) for ids in asked]
    assert [future.result(60).token_ids for future in futures] == expected
    engine.close()


def test_others_are_answered_while_a_long_prompt_is_read_in(
    lively_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.loading import load

    engine = chunked_engine(load(lively_model)[0], lively_model, monkeypatch, max_batch_size=1)
    long_, short = [*range(5, 255)] * 4, [*range(5, 15)]
    expected = [alone(engine, ids, GREEDY) for ids in (long_, short)]
    widths: list[int] = []
    engine.model.register_forward_pre_hook(
        lambda _model, _arguments, inputs: widths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    spoke, futures = [], []

    def ask(_: str) -> None:  # in the engine's own thread: all of these wait when it takes the next batch
        if not futures:
            futures.append(engine.submit(long_, GREEDY, lambda _: spoke.append("long")))
            futures.append(engine.submit(long_[::-1], GREEDY))  # abandoned before it is read in
            futures.append(engine.submit(short, GREEDY, lambda _: (spoke.append("short"), futures[1].cancel())))

    engine.submit(short, GREEDY, ask).result(60)
    assert [futures[0].result(60).token_ids, futures[2].result(60).token_ids] == expected
    assert spoke[0] == "short"
    assert futures[1].cancelled()
    assert widths.count(16) < len(long_) // 16 + 5  # the abandoned prompt was not read to its end
    engine.close()


def test_the_cache_keeps_to_its_memory(lively_model: Path) -> None:
    engine = local_engine(lively_model)
    asked = [[*range(5, 5 + 12 * (1 + i % 4))] * (1 + i % 3) for i in range(12)]
    settings = [GenerationConfig(max_new_tokens=20 + 90 * (i % 4), temperature=0) for i in range(12)]
    expected = [alone(engine, ids, s) for ids, s in zip(asked, settings, strict=True)]
    engine.close()
    small = local_engine(lively_model)
    alone(small, [5, 6], GREEDY)
    cache = small._worker.model.cache
    cache.budget = 4 * 256
    sizes: list[int] = []
    small.model.register_forward_pre_hook(lambda *_: sizes.append(cache.size * cache.capacity))
    futures = [small.submit(ids, s) for ids, s in zip(asked, settings, strict=True)]
    assert [future.result(120).token_ids for future in futures] == expected
    long_ = [*range(5, 205)] * 4
    assert len(alone(small, long_, GREEDY)) > 1  # one that needs more than is left still has a place
    assert max(sizes) == 4 * 256
    assert len(alone(small, [5, 6], GREEDY)) > 1
    small.close()


def test_a_seed_gives_the_same_answer_in_any_company(engine: Any) -> None:
    ids, *others = prompts(engine, 6)
    sampled = GenerationConfig(max_new_tokens=24, temperature=0.9, top_k=50, top_p=0.95, seed=7)
    expected = alone(engine, ids, sampled)
    futures = [engine.submit(other, GenerationConfig(max_new_tokens=30, temperature=1.5)) for other in others]
    futures.append(engine.submit(others[0], GREEDY))
    assert alone(engine, ids, sampled) == expected
    assert futures[-1].result(60).token_ids == alone(engine, others[0], GREEDY)
    assert alone(engine, ids, GenerationConfig(max_new_tokens=24, temperature=0.9, seed=8)) != expected
    wait(futures, 60)


def test_draws_follow_the_distribution() -> None:
    import torch

    from components.inference.sampling import Sampler

    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -3.0]])
    sampler = Sampler(GenerationConfig(temperature=0.5, top_k=3, seed=0), torch.device("cpu"))
    draws = torch.stack([sampler(torch.zeros(1, 1, dtype=torch.long), logits.clone()).argmax() for _ in range(8000)])
    expected = torch.softmax(torch.tensor([2.0, 1.0, 0.0]) / 0.5, 0)
    seen = torch.bincount(draws, minlength=5) / len(draws)
    assert seen[3:].sum() == 0
    assert torch.allclose(seen[:3], expected, atol=0.02)  # four standard errors are 0.016


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 1e-6}], ids=str)
def test_a_distribution_of_one_token_is_greedy(engine: Any, settings: dict[str, Any]) -> None:
    ids = prompts(engine, 1)[0]
    sampled = GenerationConfig(max_new_tokens=16, temperature=1.0, **settings)
    assert alone(engine, ids, sampled) == alone(engine, ids, GREEDY)[:16]


def test_repetition_penalty_is_transformers_and_knows_no_padding(engine: Any) -> None:
    import torch

    short, *_, longer = prompts(engine, 5)
    settings = GenerationConfig(max_new_tokens=24, temperature=0, repetition_penalty=1.8)
    plain = engine.model.generate(
        torch.tensor([short]), max_new_tokens=24, do_sample=False, repetition_penalty=1.8, eos_token_id=[*engine.eos]
    )
    expected = plain[0, len(short) :].tolist()
    assert expected != alone(engine, short, GREEDY)
    futures = [engine.submit(longer, GREEDY), engine.submit(short, settings)]
    assert futures[1].result(60).token_ids == expected


def test_limits_and_reasons(engine: Any) -> None:
    ids = prompts(engine, 1)[0]
    cut = engine.submit(ids, GenerationConfig(max_new_tokens=5, temperature=0)).result(60)
    assert (len(cut.token_ids), cut.finish_reason, cut.prompt_tokens) == (5, "length", len(ids))
    room = engine.max_model_len - len(ids)
    assert engine.resolve(ids, GenerationConfig(max_new_tokens=10**6)).max_new_tokens == room
    assert engine.resolve(ids, GenerationConfig()).max_new_tokens == room
    with pytest.raises(RequestError, match="has 1024 tokens and the model's context is 1024") as error:
        engine.submit([5] * 1024, GREEDY)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(RequestError, match="outside the vocabulary"):
        engine.submit([10**6], GREEDY)
    with pytest.raises(RequestError, match="empty"):
        engine.submit([], GREEDY)


def test_a_stop_word_ends_the_answer_before_it(engine: Any) -> None:
    ids = prompts(engine, 1)[0]
    whole = engine.submit(ids, GREEDY).result(60).text
    word = whole[6:9]
    cut = engine.submit(ids, GenerationConfig(max_new_tokens=24, temperature=0, stop_words=["nowhere", word])).result(
        60
    )
    assert cut.finish_reason == "stop"
    assert cut.text == whole[: whole.index(word)]


def test_the_end_of_turn_token_ends_the_answer(engine: Any, lively_model: Path, tmp_path: Path) -> None:
    ids = prompts(engine, 1)[0]
    tokens = alone(engine, ids, GREEDY)
    folder = shutil.copytree(lively_model, tmp_path / "model")
    settings = json.loads((folder / "generation_config.json").read_text())
    settings |= {"eos_token_id": [tokens[10]], "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    other = local_engine(folder, max_model_len=512)
    answer = other.submit(ids, GREEDY).result(60)
    assert answer.finish_reason == "stop"
    assert answer.token_ids == tokens[: tokens.index(tokens[10]) + 1]
    resolved = other.resolve(ids, GenerationConfig(top_k=5))
    assert (resolved.temperature, resolved.top_k, resolved.top_p) == (0.7, 5, 0.8)  # the model's own, where left open
    assert other.max_model_len == 512
    other.close()


def test_streaming_gives_the_same_text_and_can_be_left(engine: Any) -> None:
    ids = prompts(engine, 1)[0]
    pieces = list(stream_text(engine, ids, GREEDY))
    assert len(pieces) > 3
    assert "".join(pieces) == engine.submit(ids, GREEDY).result(60).text
    left = stream_text(engine, ids, GenerationConfig(max_new_tokens=900, temperature=0))
    next(left)
    left.close()
    begun = time.perf_counter()
    alone(engine, ids, GenerationConfig(max_new_tokens=1, temperature=0))
    assert time.perf_counter() - begun < 0.5  # 900 tokens take longer


def test_a_closed_engine_leaves_nobody_waiting(lively_model: Path) -> None:
    engine = local_engine(lively_model, max_batch_size=1)
    ids = engine.encode("What is your name?")
    futures = [engine.submit(ids, GenerationConfig(temperature=0)) for _ in range(3)]
    engine.close()
    assert all(future.done() for future in futures)
    assert futures[-1].cancelled()
    with pytest.raises(MartletError, match="closed"):
        engine.submit(ids, GREEDY)


def test_an_engine_that_fails_itself_leaves_nobody_waiting(
    lively_model: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    from components.inference.slot_worker import SlotWorker

    def fail(_: Any) -> None:
        raise ZeroDivisionError("a fault of the scheduler")

    monkeypatch.setattr(SlotWorker, "_rotate", fail)
    engine = local_engine(lively_model)
    ids = engine.encode("What is your name?")
    with pytest.raises((MartletError, ZeroDivisionError, CancelledError)):
        engine.submit(ids, GREEDY).result(60)
    engine._thread.join(60)
    with pytest.raises(MartletError, match="closed"):
        engine.submit(ids, GREEDY)


def test_no_chat_template_is_said(engine: Any, lively_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(lively_model, tmp_path / "model")
    for file in folder.glob("*template*"):
        file.unlink()
    other = local_engine(folder)
    with pytest.raises(RequestError, match="no chat template"):
        other.encode_chat(user("hello"))
    other.close()


def test_what_a_template_refuses_is_said(lively_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(lively_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    other = local_engine(folder)
    with pytest.raises(
        RequestError, match="cannot be asked this: the template refuses the conversation: roles must alternate"
    ):
        other.encode_chat(user("hello"))
    other.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -2},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0},
        {"seed": -1},
        {"stop_words": [""]},
        {"temperature": float("nan")},
    ],
    ids=str,
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GenerationConfig(**wrong)


def test_nothing_heavy_before_an_engine_is_loaded() -> None:
    code = "import sys, components.inference; print({'torch', 'transformers', 'fastapi', 'uvicorn'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
