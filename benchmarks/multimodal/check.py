"""Whether the product trains a model on a medium: rows with files, to a merged folder that plain transformers loads."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.multimodal.hints import BATCHES, STILL
from benchmarks.multimodal.media import ANSWERS, FRAMES, QUESTIONS, SIDE, rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from components.media import MediaProcessor
    from components.tokens import TokenRows

STEPS = 3
TOLERANCE = 1e-4
"""How far two logits, or two losses, may differ, relative to the largest."""
LEAST_CHANGE = 1e-6
"""How far the logits move at least, relative to the largest, when another medium is shown."""
LORA = {"lora": {"lora_rank": 4, "lora_dropout": 0.0}}
EVERY_PART = {**LORA, "towers": {"freeze_vit": False, "freeze_aligner": False}}
CALLS = {"GotOcr2Processor": {"multi_page": True}, "ChameleonProcessor": {"return_for_text_completion": True}}
"""What a processor must be told to take the images of a conversation."""


def take_through(folder: Path, kind: str, work: Path, model_type: str = "") -> None:
    """Train the model of `folder` on answers about media, save, merge and ask it.

    Raises whatever goes wrong; AssertionError says that a number is not what it must be.
    """
    from components.config import Params
    from components.config.groups.multimodal import Multimodal
    from components.media import load_processor
    from components.models import fitness, load_model
    from components.training.collators import Padded
    from components.training.features import Features
    from components.training.media import WithMedia

    work.mkdir(exist_ok=True)
    problems = fitness.problems(folder, Params())
    assert not problems, problems[0]
    processor = load_processor(folder, Multimodal(nframes=FRAMES), work)
    assert processor
    tokens = token_rows(processor, work, kind)
    plain = load_model(folder, "float32").eval()
    collate = WithMedia(Padded(processor.tokenizer.pad_token_id), Features(processor, plain.dtype, None))
    one, two, text = (tokens[number] for number in range(len(tokens)))

    change = difference(logits(plain, collate([one])), logits(plain, collate([{**one, "media": two["media"]}])))
    assert change > LEAST_CHANGE, f"another {kind} changes the logits by {change:.1e} of the largest"
    _check_own_path(plain, processor, folder, work, kind, collate([one]))
    if model_type not in BATCHES:
        _check_batches(plain, collate, [one, two], "the other")
    _check_batches(plain, collate, [one, text], "a text")
    if (model_type, kind) not in STILL:
        _check_gradients_of_towers(load_model(folder, "float32"), collate([one, two]))
    generate(plain, processor, one)

    _check_training(folder, work, collate([one, two]))


def token_rows(processor: "MediaProcessor", work: Path, kind: str) -> "TokenRows":
    """Return the token rows of two media and a text, whose labels are the answers and their end tags."""
    from components.templates import ChatTemplate
    from components.templates.encoder import Encoder
    from components.tokens import IGNORED, TokenRows

    chat = ChatTemplate(processor.tokenizer, media=processor)
    own = rows(work, kind)
    batch = Encoder(chat, "sft", None, media=True)(own, [""] * len(own), range(len(own)))
    assert not batch.refused, next(iter(batch.refused.values()))
    tokens = TokenRows(batch.tokens)
    for number, answer in enumerate(ANSWERS):
        labels = tokens[number]["labels"]
        learned = processor.tokenizer.decode(labels[labels != IGNORED])
        assert learned == answer + processor.tokenizer.eos_token, f"learned is {learned[:80]!r}"
    return tokens


def _check_own_path(
    model: Any, processor: "MediaProcessor", folder: Path, work: Path, kind: str, batch: dict[str, Any]
) -> None:
    """Check that ids and logits are those of the processor's own `apply_chat_template`."""
    import torch

    own = own_inputs(processor, folder, work, kind, model)
    assert own["input_ids"].tolist() == batch["input_ids"].tolist(), "the ids are not the processor's own"
    compare("the processor's own batch", logits(model, {**own, "labels": batch["labels"]}), logits(model, batch))
    assert torch.is_tensor(own["input_ids"])


def own_inputs(processor: "MediaProcessor", folder: Path, work: Path, kind: str, model: Any) -> dict[str, Any]:
    """Return what the processor itself makes of the first conversation, in the model's precision."""
    import torch
    from transformers import AutoProcessor

    from components.media import Medium, read

    fresh: Any = AutoProcessor.from_pretrained(folder)
    file = next(work.glob(f"{kind}1.*")).name
    medium = read(Medium(kind, file, ""), work, processor.settings, processor.sampling_rate)
    part = {"type": kind, kind: medium.frames if kind == "video" else medium}
    messages = [
        {"role": "user", "content": [part, {"type": "text", "text": QUESTIONS[0]}]},
        {"role": "assistant", "content": [{"type": "text", "text": ANSWERS[0]}]},
    ]
    named: dict[str, Any] = {**CALLS.get(type(fresh).__name__, {})}
    if kind == "video":
        metadata = {"total_num_frames": FRAMES, "fps": 2.0, "frames_indices": [*range(FRAMES)], "duration": 2.0}
        sizes = {"width": SIDE, "height": SIDE}
        named["videos_kwargs"] = {
            "video_metadata": [{**metadata, **sizes}],
            "do_sample_frames": False,
            "return_metadata": True,
        }
    if kind == "audio":
        named["audio_kwargs"] = {"sampling_rate": processor.sampling_rate}
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        named["text_kwargs"] = {"return_mm_token_type_ids": True}
    encoded = fresh.apply_chat_template(
        messages,
        chat_template=(folder / "chat_template.jinja").read_text(encoding="utf-8"),  # some do not load it
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=named,
    )
    return {
        name: value.to(model.dtype) if torch.is_floating_point(value) else value
        for name, value in encoded.items()
        if isinstance(value, torch.Tensor)
    }


def _check_batches(model: Any, collate: Any, pair: list[Any], what: str) -> None:
    """Check that two rows have in one batch the losses that each has alone."""
    import torch

    alone = torch.cat([losses(model, collate([row])) for row in pair])
    together = losses(model, collate(pair))
    assert torch.isfinite(alone).all(), "a loss is not finite"
    gap = float((alone - together).abs().max() / alone.abs().max())
    assert gap <= TOLERANCE, f"beside {what} row the losses differ, by {gap:.1e} of the largest"


def _check_gradients_of_towers(model: Any, batch: dict[str, Any]) -> None:
    """Check that adapters on towers and aligner learn where they may."""
    import torch

    from components.config import Params
    from components.towers import Parts
    from components.tuners import lora

    parts = Parts(model)
    adapted = lora.wrap(model, Params.model_validate(EVERY_PART), 1)
    torch.manual_seed(7)
    losses(adapted, batch, keep=True).mean().backward()
    gradients = [
        weight.grad
        for name, weight in adapted.named_parameters()
        if weight.requires_grad and parts.of(name.removeprefix("base_model.model.")) != "llm"
    ]
    assert gradients, "neither towers nor aligner have a layer for an adapter"
    present = [gradient for gradient in gradients if gradient is not None]
    assert all(torch.isfinite(gradient).all() for gradient in present), "a gradient is not finite"
    assert any(gradient.any() for gradient in present), "no gradient reaches the towers"


def _check_training(folder: Path, work: Path, batch: dict[str, Any]) -> None:
    """Train an adapter, and compare its logits with those of what is saved and merged."""
    from components.config import Params
    from components.models import copy_companions, load_model
    from components.towers import keep_averages
    from components.tuners import lora

    model = lora.wrap(load_model(folder, "float32"), Params.model_validate(LORA), 1)
    keep_averages(model)
    course = learn(model, batch)
    assert course[-1] < course[0], f"the loss rises: {course[0]:.4f} to {course[-1]:.4f}"
    trained = logits(model, batch)
    lora.save(model, work / "adapter")
    loaded = lora.load(load_model(folder, "float32"), work / "adapter")
    compare("the loaded adapter", trained, logits(loaded, batch))
    merged = lora.merge(loaded)
    compare("the merged model", trained, logits(merged, batch))
    merged.save_pretrained(work / "merged")
    copy_companions(folder, work / "merged")
    compare("the merged folder", trained, logits(plain_model(work / "merged"), batch))


def plain_model(folder: Path) -> "PreTrainedModel":
    """Return the model of a folder, of the class that its config.json names, by transformers alone."""
    import transformers

    from components.files import read_json

    model_class: Any = getattr(transformers, read_json(folder / "config.json")["architectures"][0])
    model, notes = model_class.from_pretrained(folder, dtype="float32", output_loading_info=True)
    assert not notes["missing_keys"], f"the saved model lacks {sorted(notes['missing_keys'])[:3]}"
    return model.eval()


def learn(model: Any, batch: dict[str, Any]) -> list[float]:
    """Train three steps on one batch; return the losses before each step and after the last."""
    import torch

    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3)
    course = []
    for step in range(STEPS + 1):
        model.train()
        loss = losses(model, batch, keep=True).mean()
        course.append(float(loss.detach()))
        if step < STEPS:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return course


def losses(model: Any, batch: dict[str, Any], keep: bool = False) -> Any:
    """Return the loss of each learned token, row by row, as the product computes it."""
    import torch

    from components.training.forward import learned_logits

    torch.manual_seed(7)  # dropout; and VibeVoice samples what it hears
    with torch.set_grad_enabled(keep):
        found, columns, _ = learned_logits(model, dict(batch))
        return torch.nn.functional.cross_entropy(found.float(), columns["labels"], reduction="none")


def logits(model: Any, batch: dict[str, Any]) -> Any:
    """Return the logits of the learned tokens."""
    import torch

    from components.training.forward import learned_logits

    torch.manual_seed(7)
    with torch.no_grad():
        return learned_logits(model.eval(), dict(batch))[0].float()


def generate(model: Any, processor: "MediaProcessor", row: Any) -> None:
    """Ask for four tokens."""
    import torch

    from components.media import model_inputs
    from components.media.processor import PER_TOKEN
    from components.tokens import IGNORED

    start = int((row["labels"] != IGNORED).argmax())
    prompt = model_inputs({**row, "input_ids": row["input_ids"][:start]}, processor)
    taken = inspect.signature(model.forward).parameters  # `generate` refuses others, which a forward pass drops
    prompt = {
        name: value.to(model.dtype) if torch.is_floating_point(value) else value
        for name, value in prompt.items()
        if name in taken or name not in PER_TOKEN
    }
    answer = model.eval().generate(**prompt, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert answer.shape[1] in (4, 5, start + 3, start + 4), f"generation gave {answer.shape[1] - start} tokens"


def difference(one: Any, two: Any) -> float:
    """Return how far two logits are apart, relative to the largest of the first."""
    tokens = one > -1e30  # others can never be written
    return float((one - two)[tokens].abs().max() / one[tokens].abs().max())


def compare(what: str, expected: Any, found: Any) -> None:
    gap = difference(expected, found)
    assert gap <= TOLERANCE, f"{what} answers otherwise, by {gap:.1e} of the largest logit"
