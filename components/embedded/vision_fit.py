"""Teach the vision-language base: first its tower to tell the facts of a scene, then all but the tower from chats."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.embedded import base, fit, pictures
from components.embedded.base import Progress, Settings
from components.embedded.fit import Chat, Example

if TYPE_CHECKING:
    from PIL.Image import Image
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
    from transformers.models.siglip.modeling_siglip import SiglipVisionModel

IMAGE = "<image>"
Shown = tuple[Chat, "Image | None"]
"""A chat and the picture it is about."""


@dataclass(frozen=True)
class VisionSettings(Settings):
    steps: int = 480
    vocab_size: int = 1023  # and IMAGE
    learning_rate: float = 2.5e-3
    picture_steps: int = 100  # the first, in which every chat has a picture: sight comes late beside chats without
    pictured: float = 0.35  # share of the chats of later steps that have one
    tower_steps: int = 400
    tower_batch_size: int = 64
    tower_learning_rate: float = 3e-3
    tower_size: int = 128
    tower_layers: int = 3
    patch_size: int = 14


def _new_model(tokenizer: "Tokenizer", settings: VisionSettings) -> "LlavaForConditionalGeneration":
    from transformers.models.llava.configuration_llava import LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
    from transformers.models.siglip.configuration_siglip import SiglipVisionConfig

    language = base.new_model(tokenizer, settings)
    tower = SiglipVisionConfig(
        hidden_size=settings.tower_size,
        intermediate_size=4 * settings.tower_size,
        num_hidden_layers=settings.tower_layers,
        num_attention_heads=4,
        image_size=pictures.SIDE,
        patch_size=settings.patch_size,
        vision_use_head=False,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=language.config,
        image_token_index=tokenizer.get_vocab()[IMAGE],
        image_seq_length=_tokens(settings),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        architectures=["LlavaForConditionalGeneration"],
        dtype="float32",
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = language.generation_config
    return model


def _tokens(settings: VisionSettings) -> int:
    """Return how many tokens a picture takes, one for each patch."""
    return (pictures.SIDE // settings.patch_size) ** 2


def train(
    chats: list[Shown], tokenizer: "Tokenizer", settings: VisionSettings, on_progress: Progress | None
) -> "LlavaForConditionalGeneration":
    """Train from scratch: first the tower, then all but the tower; only answers count in the loss of chats."""
    import torch

    total = settings.tower_steps + settings.steps
    step = 0

    def told(loss: "Tensor") -> None:
        nonlocal step
        step += 1
        if on_progress:
            on_progress(step, total, loss.item())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = _new_model(tokenizer, settings).train()
        for loss in _teach_tower(model.model.vision_tower, settings):
            told(loss)
    for loss in _teach_chats(model, chats, tokenizer, settings):
        told(loss)
    return model.eval()


def _teach_tower(tower: "SiglipVisionModel", settings: VisionSettings) -> "Iterator[Tensor]":
    """Teach the tower, below a linear head for each fact of a scene, to tell the facts; yield each step's loss. Without
    this a language model learns to read shapes off its patches many times later."""
    import torch

    rng = random.Random(settings.seed)
    sizes = [len(values) for values in pictures.FACTS.values()]
    head = torch.nn.Linear(2 * settings.tower_size, sum(sizes))
    parameters = [*tower.parameters(), *head.parameters()]
    descend = fit.descent(
        parameters, settings.tower_learning_rate, settings.tower_steps, 2 * settings.warmup_ratio, settings.weight_decay
    )
    for _ in range(settings.tower_steps):
        scenes = rng.choices(pictures.SEEN, k=settings.tower_batch_size)
        shown = pixels([pictures.draw(scene, rng) for scene in scenes])
        patches = tower(shown, output_hidden_states=True).hidden_states[-1]  # LLaVA takes them before the last norm
        scores = head(torch.cat((patches.mean(1), patches.amax(1)), dim=1)).split(sizes, dim=1)
        facts = torch.tensor([scene.numbers() for scene in scenes]).unbind(dim=1)
        loss = torch.stack([torch.nn.functional.cross_entropy(*pair) for pair in zip(scores, facts, strict=True)]).sum()
        descend(loss)
        yield loss


def _teach_chats(
    model: "LlavaForConditionalGeneration", chats: list[Shown], tokenizer: "Tokenizer", settings: VisionSettings
) -> "Iterator[Tensor]":
    """Teach chats to all but the tower; yield each step's loss."""
    model.model.vision_tower.requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    descend = fit.descent(
        parameters, settings.learning_rate, settings.steps, settings.warmup_ratio, settings.weight_decay
    )
    for batch in fit.batches(
        chats, lambda shown: encode(shown, tokenizer, settings), settings.batch_size, settings.seed
    ):
        ids, labels = fit.padded(batch)
        shown = [one.picture for one in batch if one.picture]
        loss = fit.loss(model, labels, input_ids=ids, pixel_values=pixels(shown) if shown else None)
        descend(loss)
        yield loss
    model.model.vision_tower.requires_grad_(True)


def encode(shown: Shown, tokenizer: "Tokenizer", settings: VisionSettings) -> Example:
    """Return ids and labels with as many IMAGE in place of one as a picture takes."""
    chat, picture = shown
    wide = [{**turn, "content": turn["content"].replace(IMAGE, IMAGE * _tokens(settings))} for turn in chat]
    return fit.encode(wide, tokenizer)._replace(picture=picture)


def pixels(shown: "list[Image]") -> "Tensor":
    """Return the pictures as (picture, colour, row, column), from -1 to 1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([np.asarray(one) for one in shown])).permute(0, 3, 1, 2) / 127.5 - 1
