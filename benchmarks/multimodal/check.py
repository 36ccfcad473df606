"""Whether a tiny model learns from a medium: one kind of media of one model folder, through a whole LoRA training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

STEPS = 3
TOLERANCE = 1e-4
"""How far two logits may differ, relative to the largest."""
QUESTION, ANSWER = "What is it?", "a red kite"


def medium(kind: str, seed: int, rate: int) -> Any:
    """Return a random picture, video of four frames, or second of sound."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    if kind == "image":
        return Image.fromarray(random.integers(0, 256, (56, 56, 3), dtype=np.uint8))
    if kind == "video":
        return random.integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
    return random.standard_normal(rate).astype(np.float32) * (0.2 + seed % 2)


def take_through(folder: Path, kind: str, work: Path) -> None:
    """Train the model of `folder` on an answer about one medium, save, merge and ask it.

    Raises whatever goes wrong; AssertionError says that a number is not what it must be.
    """
    import torch
    from transformers import AutoProcessor

    from components.config import Params
    from components.tuners import lora

    torch.manual_seed(0)
    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.chat_template = (folder / "chat_template.jinja").read_text(encoding="utf-8")  # some do not load it
    batch, other = (encode(processor, kind, seed) for seed in (1, 2))
    plain = load(folder)
    first = plain(**batch)
    assert torch.isfinite(first.loss), f"the loss is {float(first.loss)}"
    plain.train()(**batch).loss.backward()
    norms = [weight.grad.norm() for weight in plain.parameters() if weight.grad is not None]
    assert norms and torch.isfinite(torch.stack(norms)).all(), "a gradient is not finite"
    plain = load(folder)
    before = logits(plain, batch)
    change = difference(before, logits(plain, {**batch, **media_of(other, batch)}))
    assert change > 1e-6, f"another {kind} changes the logits by {change:.1e} only"
    generate(plain, processor, kind)

    model = lora.wrap(plain, Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0.0}}), 1)
    losses = learn(model, batch)
    assert losses[-1] < losses[0], f"the loss rises: {losses[0]:.4f} to {losses[-1]:.4f}"
    trained = logits(model, batch)
    lora.save(model, work / "adapter")
    loaded = lora.load(load(folder), work / "adapter")
    compare("the loaded adapter", trained, logits(loaded, batch))
    merged = lora.merge(loaded)
    compare("the merged model", trained, logits(merged, batch))
    merged.save_pretrained(work / "merged")
    compare("the merged folder", trained, logits(load(work / "merged"), batch))


def load(folder: Path) -> "PreTrainedModel":
    """Return the model of a folder, of the class that its config.json names."""
    import transformers

    from components.files import read_json

    model_class: Any = getattr(transformers, read_json(folder / "config.json")["architectures"][0])
    model, notes = model_class.from_pretrained(folder, dtype="float32", output_loading_info=True)
    assert not notes["missing_keys"], f"the saved model lacks {sorted(notes['missing_keys'])[:3]}"
    return model.eval()


def encode(processor: "ProcessorMixin", kind: str, seed: int, is_prompt: bool = False) -> dict[str, Any]:
    """Return a model's inputs for a question about a medium, with labels on its answer."""
    import torch

    rate = getattr(getattr(processor, "feature_extractor", None) or getattr(processor, "audio_processor", None), "sampling_rate", 16000)
    part = {"type": kind, {"image": "image", "video": "video", "audio": "audio"}[kind]: medium(kind, seed, rate)}
    question = {"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}
    options: dict[str, Any] = {}
    if kind == "video":
        metadata = {"total_num_frames": 4, "fps": 2.0, "frames_indices": [0, 1, 2, 3], "width": 56, "height": 56, "duration": 2.0}
        options = {"videos_kwargs": {"video_metadata": [metadata], "do_sample_frames": False}}
    both = [
        processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=add, processor_kwargs={name: dict(value) for name, value in options.items()}
        )
        for messages, add in (([question], True), ([question, answer], False))
    ]
    prompt, whole = (dict(batch) for batch in both)
    if is_prompt:
        return prompt
    length = prompt["input_ids"].shape[1]
    assert torch.equal(whole["input_ids"][:, :length], prompt["input_ids"]), "the prompt is no beginning of the whole"
    labels = whole["input_ids"].clone()
    labels[:, :length] = -100
    return {**whole, "labels": labels}


def media_of(other: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of another encoding that are no tokens; shapes are the same."""
    return {name: value for name, value in other.items() if name not in ("input_ids", "labels", "attention_mask") and name in batch}


def learn(model: Any, batch: dict[str, Any]) -> list[float]:
    """Train three steps on one batch; return the losses before each step and after the last."""
    import torch

    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3)
    losses = []
    for step in range(STEPS + 1):
        torch.manual_seed(7)
        loss = model.train()(**batch).loss
        losses.append(float(loss.detach()))
        if step < STEPS:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return losses


def logits(model: Any, batch: dict[str, Any]) -> Any:
    """Return the logits at the answer."""
    import torch

    length = int((batch["labels"] != -100).sum())
    with torch.no_grad():
        return model.eval()(**batch).logits[:, -length - 1 :].float()


def generate(model: Any, processor: Any, kind: str) -> None:
    """Ask for four tokens."""
    prompt = encode(processor, kind, 1, is_prompt=True)
    answer = model.generate(**prompt, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    count = answer.shape[1]
    assert count in (4, prompt["input_ids"].shape[1] + 4), f"generation gave {count} tokens"


def difference(one: Any, two: Any) -> float:
    return float((one - two).abs().max() / one.abs().max())


def compare(what: str, expected: Any, found: Any) -> None:
    gap = difference(expected, found)
    assert gap <= TOLERANCE, f"{what} answers otherwise, by {gap:.1e} of the largest logit"
