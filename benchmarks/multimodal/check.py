"""Whether a tiny model learns from a medium: one kind of media of one model folder, through a whole LoRA training."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STEPS = 3
TOLERANCE = 1e-4
"""How far two logits may differ, relative to the largest."""
LEAST_CHANGE = 1e-6
"""How far the logits move at least, relative to the largest, when another medium is shown."""
QUESTION, ANSWER = "What is it?", "a red kite"
SIDE, FRAMES = 56, 4
CALLS = {"GotOcr2Processor": {"multi_page": True}}
"""What a processor must be told to take the images of a conversation."""


def medium(kind: str, seed: int, rate: int) -> Any:
    """Return a random picture or video, lighter towards one side; or a second of sound."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, SIDE).astype(np.uint8)
    ramp = ramp[:, None, None] if seed % 2 else ramp[None, :, None]
    pixels = random.integers(0, 56, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8) + ramp
    if kind == "image":
        return Image.fromarray(pixels[0])
    if kind == "video":
        return pixels
    return random.standard_normal(rate).astype(np.float32) / 10


def take_through(folder: Path, kind: str, work: Path) -> None:
    """Train the model of `folder` on an answer about one medium, save, merge and ask it.

    Raises whatever goes wrong; AssertionError says that a number is not what it must be.
    """
    import torch
    from transformers import AutoProcessor

    from components.tuners import lora

    torch.manual_seed(0)
    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.chat_template = (folder / "chat_template.jinja").read_text(encoding="utf-8")  # some do not load it
    plain = load(folder)
    batch, other = (encode(processor, plain, kind, seed) for seed in (1, 2))
    before = logits(plain, batch)
    change = difference(before, logits(plain, {**other, "labels": batch["labels"]}))
    assert change > LEAST_CHANGE, f"another {kind} changes the logits by {change:.1e} of the largest"
    _check_gradient(plain, batch)
    generate(plain, processor, kind)

    model = adapted(load(folder))
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


def adapted(model: "PreTrainedModel") -> Any:
    """Return the model with LoRA on the linear layers of its language part: those that the product finds or, where it
    finds none without a medium, all."""
    from peft import LoraConfig, get_peft_model
    from torch import nn

    from components.config import Params
    from components.errors import ConfigError
    from components.tuners import lora

    try:
        return lora.wrap(model, Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0.0}}), 1)
    except ConfigError as error:
        if "cannot read token ids alone" not in str(error):
            raise
    text = model.get_decoder() or model
    embeddings = [layer.weight for layer in model.modules() if isinstance(layer, nn.Embedding)]
    head = model.get_output_embeddings()
    inside = {
        id(layer)
        for layer in text.modules()
        if isinstance(layer, nn.Linear) and layer is not head and not any(layer.weight is table for table in embeddings)
    }
    names = [name for name, layer in model.named_modules() if id(layer) in inside]
    return get_peft_model(model, LoraConfig(r=4, target_modules=names))


def encode(processor: Any, model: Any, kind: str, seed: int) -> dict[str, Any]:
    """Return a model's inputs for a question about a medium, with labels on its answer."""
    import torch

    messages = [*question(processor, kind, seed), {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}]
    answer = torch.tensor(
        processor.tokenizer(ANSWER + processor.tokenizer.eos_token, add_special_tokens=False).input_ids
    )
    if model.config.is_encoder_decoder:
        return {**inputs(processor, model, messages[:1], kind), "labels": answer[None]}
    batch = inputs(processor, model, messages, kind)
    ids = batch["input_ids"][0]
    windows = ids.unfold(0, len(answer), 1)
    start = int((windows == answer).all(1).nonzero()[-1])
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, start : start + len(answer)] = answer
    return {**batch, "labels": labels}


def question(processor: Any, kind: str, seed: int) -> list[dict[str, Any]]:
    """Return a conversation of one question about a medium."""
    listener = getattr(processor, "feature_extractor", None) or getattr(processor, "audio_processor", None)
    part = {"type": kind, kind: medium(kind, seed, getattr(listener, "sampling_rate", 16000))}
    return [{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}]


def inputs(processor: Any, model: Any, messages: list[dict[str, Any]], kind: str, **options: Any) -> dict[str, Any]:
    """Return what the processor makes of a conversation with one medium, in the model's precision."""
    import torch

    named: dict[str, Any] = {**CALLS.get(type(processor).__name__, {})}
    if kind == "video":
        metadata = {"total_num_frames": FRAMES, "fps": 2.0, "frames_indices": [*range(FRAMES)], "duration": 2.0}
        sizes = {"width": SIDE, "height": SIDE}
        named["videos_kwargs"] = {
            "video_metadata": [{**metadata, **sizes}],
            "do_sample_frames": False,
            "return_metadata": True,
        }
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        named["text_kwargs"] = {"return_mm_token_type_ids": True}
    encoded = processor.apply_chat_template(
        messages,
        chat_template=processor.chat_template,  # without it SmolVLM writes about a video by a template of its own
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=named,
        **options,
    )
    return {
        name: value.to(model.dtype) if torch.is_floating_point(value) else value
        for name, value in encoded.items()
        if isinstance(value, torch.Tensor) and not name.startswith("decoder_")  # made of the labels
    }


def _check_gradient(model: Any, batch: dict[str, Any]) -> None:
    import torch

    loss = model.train()(**batch).loss
    assert torch.isfinite(loss), f"the loss is {float(loss)}"
    loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients, "no gradient"
    assert all(torch.isfinite(gradient).all() for gradient in gradients), "a gradient is not finite"
    model.zero_grad()


def learn(model: Any, batch: dict[str, Any]) -> list[float]:
    """Train three steps on one batch; return the losses before each step and after the last."""
    import torch

    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3)
    losses = []
    for step in range(STEPS + 1):
        torch.manual_seed(7)  # dropout of the base, where it has one
        model.train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eval()  # in training its averages move, and no adapter holds them
        loss = model(**batch).loss
        losses.append(float(loss.detach()))
        if step < STEPS:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return losses


def logits(model: Any, batch: dict[str, Any]) -> Any:
    """Return the logits at the answer."""
    import torch

    torch.manual_seed(7)  # VibeVoice samples what it hears
    length = int((batch["labels"] != -100).sum())
    with torch.no_grad():
        return model.eval()(**batch).logits[:, -length - 1 :].float()


def generate(model: Any, processor: Any, kind: str) -> None:
    """Ask for four tokens."""
    prompt = inputs(processor, model, question(processor, kind, 1), kind, add_generation_prompt=True)
    answer = model.eval().generate(**prompt, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    before = prompt["input_ids"].shape[1] if "input_ids" in prompt else 0
    assert answer.shape[1] in (4, 5, before + 3, before + 4), f"generation gave {answer.shape[1] - before} tokens"


def difference(one: Any, two: Any) -> float:
    """Return how far two logits are apart, relative to the largest of the first."""
    tokens = one > -1e30  # others can never be written
    return float((one - two)[tokens].abs().max() / one[tokens].abs().max())


def compare(what: str, expected: Any, found: Any) -> None:
    gap = difference(expected, found)
    assert gap <= TOLERANCE, f"{what} answers otherwise, by {gap:.1e} of the largest logit"
