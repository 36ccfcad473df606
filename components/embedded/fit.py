"""Train a tiny model on chats: ids and labels, batches of like length, the loss of the answers, the descent."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import Tokenizer
    from torch import Tensor
    from torch.nn import Parameter

Chat = list[dict[str, str]]
T = TypeVar("T")
ANSWER = re.compile(r"(?<=<\|im_start\|>assistant\n).*?<\|im_end\|>", re.DOTALL)


class Example(NamedTuple):
    ids: list[int]
    labels: list[int]
    """The ids that are to be learned, -100 elsewhere."""
    picture: Any = None


@cache
def template() -> "Template":
    """Return the base's own chat template, compiled with the settings that transformers uses."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text_of("chat_template.jinja"))


def text_of(name: str) -> str:
    """Return the text of a file of this package."""
    return resources("components.embedded").joinpath(name).read_text(encoding="utf-8")


def descent(
    parameters: "list[Parameter]", learning_rate: float, steps: int, warmup_ratio: float, weight_decay: float
) -> "Callable[[Tensor], None]":
    """Return a function that takes a step down a loss: AdamW with warm-up, linear decay and clipped gradients."""
    import torch

    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True
    )
    warmup = max(1, int(warmup_ratio * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup))
    )

    def descend(loss: "Tensor") -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return descend


def loss(model: Any, labels: "Tensor", **inputs: "Tensor | None") -> "Tensor":
    """Return the mean cross-entropy of the tokens that are to be learned."""
    import torch

    hidden = model.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
    counts = labels[:, 1:] >= 0
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[counts]), labels[:, 1:][counts])


def batches(chats: Sequence[T], encode: Callable[[T], Example], size: int, seed: int) -> Iterator[list[Example]]:
    """Yield the encoded chats, `size` at a time."""
    rng = random.Random(seed)
    for start in range(0, len(chats), size * 20):
        # Chats of like length share a batch, which halves the padding.
        encoded = sorted((encode(chat) for chat in chats[start : start + size * 20]), key=lambda one: len(one.ids))
        batches = [encoded[i : i + size] for i in range(0, len(encoded), size)]
        rng.shuffle(batches)
        yield from batches


def padded(batch: list[Example]) -> "tuple[Tensor, Tensor]":
    """Return ids and labels, both (batch, longest) and right-padded; a label is -100 where nothing is to be learned."""
    import torch

    ids = torch.zeros(len(batch), max(len(one.ids) for one in batch), dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        labels[row, : len(one.labels)] = torch.tensor(one.labels)
    return ids, labels


def encode(chat: Chat, tokenizer: "Tokenizer") -> Example:
    text = template().render(messages=chat)
    encoding = tokenizer.encode(text)
    spans = [match.span() for match in ANSWER.finditer(text)]
    learned = (any(a <= start < b for a, b in spans) for start, _ in encoding.offsets)
    labels = [token if learn else -100 for token, learn in zip(encoding.ids, learned, strict=True)]
    return Example(encoding.ids, labels)
