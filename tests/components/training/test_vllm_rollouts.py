"""Answers by vLLM: what it is asked, how its log probabilities weigh, and, where it is installed, the real program."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from components import environments
from components.errors import MartletError
from tasks.stages.vllm_rollouts import VllmRollouts
from tests.components.training.runs import prompt_rows, write_tokens
from tests.components.training.test_policies import REWARD, first_parts, trainer_of

DRAWN = [40, 41, 42, 2]
"""What the stand-in answers: three tokens and <|im_end|>."""


class StandIn(BaseHTTPRequestHandler):
    """A server with vLLM's four addresses: any answer is `DRAWN`, each token with the log probability -3."""

    asked: list[tuple[str, Any]]
    refuses = False
    models: Any = None

    def do_GET(self) -> None:
        self.reply(self.models or {"data": [{"id": "base", "max_model_len": 512}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            body["files"] = sorted(file.name for file in Path(body["lora_path"]).iterdir())
        self.asked.append((f"{self.path} {self.headers['Authorization']}", body))
        if self.refuses:
            self.reply({"detail": "Not Found"}, 404)
        elif self.path == "/v1/completions":
            log_probs = {"token_logprobs": [-3.0] * len(DRAWN)}
            choice = {"text": "abc", "token_ids": DRAWN, "logprobs": log_probs, "finish_reason": "stop"}
            self.reply({"choices": [choice]})
        else:
            self.reply("done")

    def reply(self, value: Any, code: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stand_in() -> Iterator[tuple[str, type[StandIn]]]:
    handler = type("Handler", (StandIn,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


def trainer_with(base: Path, folder: Path, **params: Any) -> Any:
    """A trainer that has not begun, whose answers come from vLLM."""
    tokens = write_tokens(folder / "tokens", prompt_rows(6), None, "prompt")
    (folder / "mine.py").write_text(REWARD)
    trainer = trainer_of(base, tokens, folder, folder / "mine.py", beta=0.0, use_vllm=True, **params)
    job = trainer.job
    job.rollouts = VllmRollouts(job.params, job.tokenizer, job.external, base=base)
    return trainer


@pytest.mark.parametrize("models", ["<html>", {"data": []}, {"data": [{"id": "other"}]}])
def test_a_server_that_is_no_vllm_is_one_sentence(
    models: Any, stand_in: tuple[str, type[StandIn]], tiny_model: Path, tmp_path: Path
) -> None:
    url, handler = stand_in
    handler.models = models
    trainer = trainer_with(tiny_model, tmp_path, vllm_mode="server", vllm_server_base_url=url)
    with pytest.raises(MartletError, match=r"use_vllm: what answers at http://127.0.0.1:\d+ is no vLLM; start"):
        trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")


def test_what_vllm_is_asked_and_how_its_log_probabilities_weigh(
    stand_in: tuple[str, type[StandIn]], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = stand_in
    monkeypatch.setenv("MARTLET_VLLM_API_KEY", "secret")
    sampling = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "repetition_penalty": 1.1, "stop_words": ["x"]}
    trainer = trainer_with(
        tiny_model,
        tmp_path,
        vllm_mode="server",
        vllm_server_base_url=f"{url}/v1",
        max_completion_length=9,
        vllm_importance_sampling_cap=1.5,
        **sampling,
    )
    parts = first_parts(trainer)
    [batch], _ = trainer.get_batch_samples(iter(parts), 1, "cpu")
    (path, loaded), *asked = handler.asked
    assert path == "/v1/load_lora_adapter Bearer secret"
    assert loaded["files"] == ["adapter_config.json", "adapter_model.safetensors"]
    assert not Path(loaded["lora_path"]).exists()
    body = next(body for _, body in asked if body["prompt"] == parts[0][0]["prompt_ids"].tolist())
    expected = {"top_k": 5, "top_p": 0.9, "repetition_penalty": 1.1, "temperature": 0.7, "stop": ["x"]}
    expected |= {"max_tokens": 9, "logprobs": 0, "return_token_ids": True, "model": loaded["lora_name"]}
    assert expected.items() <= body.items()
    assert len({body["seed"] for _, body in asked}) == 8
    assert batch["token_labels"][batch["token_labels"] >= 0].tolist() == DRAWN * 8
    assert batch["sampled"].tolist() == [-3.0] * 32
    advantages = batch["advantages"] = torch.arange(32.0)
    log_probs = trainer._scores(trainer.job.model, batch).log_probs.detach()
    weights = (log_probs + 3).exp().clamp(max=1.5)
    assert 0.01 < float(weights.min()) < float(weights.max())
    plain = trainer.summed_loss(trainer.job.model, {k: v for k, v in batch.items() if k != "sampled"})[0].detach()
    weighed = trainer.summed_loss(trainer.job.model, batch)[0].detach()
    assert float(weighed) == pytest.approx(float((-advantages * weights / 4).sum()), abs=1e-5)
    assert float(weighed) != pytest.approx(float(plain), abs=1e-4)
    trainer.settings = trainer.settings.model_copy(update={"vllm_importance_sampling_correction": False})
    assert float(trainer.summed_loss(trainer.job.model, batch)[0].detach()) == float(plain)
    trainer.rollouts.sample(trainer.job.model, parts[0], range(8))
    names = [body["lora_name"] for path, body in handler.asked if "lora" in path]
    assert names == [loaded["lora_name"], names[1], loaded["lora_name"]]  # the next one is there before it is unloaded
    trainer.rollouts.close()


def test_a_vllm_that_takes_no_adapters_is_one_sentence(
    stand_in: tuple[str, type[StandIn]], tiny_model: Path, tmp_path: Path
) -> None:
    url, handler = stand_in
    handler.refuses = True
    trainer = trainer_with(tiny_model, tmp_path, vllm_mode="server", vllm_server_base_url=url)
    with pytest.raises(MartletError, match=r"does not take the adapter: vLLM answers 404.*VLLM_ALLOW_RUNTIME_LORA"):
        trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_answers_of_the_real_program_have_the_probabilities_of_the_trained_model(
    tiny_model: Path, tmp_path: Path
) -> None:
    name = "vllm" if environments.has_gpu() else "vllm-cpu"
    if not environments.is_installed(name):
        pytest.skip(f"the environment {name} is not installed")
    wide = Qwen3Config.from_pretrained(tiny_model, head_dim=32)  # the narrowest heads that vLLM computes on a CPU
    torch.manual_seed(1)
    Qwen3ForCausalLM(wide).save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "wide")
    trainer = trainer_with(tmp_path / "wide", tmp_path, temperature=0.8, max_completion_length=24)
    model = trainer.job.model
    for step in range(2):
        torch.manual_seed(step)
        for parameter_name, weight in model.named_parameters():
            if "lora_B" in parameter_name:
                weight.data = 0.1 * step * torch.randn_like(weight)
        [batch], _ = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
        log_probs = trainer._scores(model.eval(), batch).log_probs.detach()
        assert (log_probs - batch["sampled"]).abs().max() < 0.02
        with model.disable_adapter():
            of_base = trainer._scores(model, batch).log_probs.detach()
        assert bool((of_base - batch["sampled"]).abs().max() > 0.1) == bool(step)
    trainer.rollouts.close()
