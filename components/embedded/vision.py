"""Train the tiny vision-language base: it says what is on the pictures of the toy world, and answers without one.

LLaVA's plan (Liu et al. 2023): a vision tower, a projector of two layers, a language model. The tower (SigLIP's shape)
first learns to name what is on a picture, and is then frozen; projector and language model learn from chats.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files
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
SOURCE = (*base.SOURCE, "pictures.py", "vision.py", "vision_template.jinja", "vision_card.md")
"""The files that decide what the base is."""
Shown = tuple[Chat, "Image | None"]
"""A chat and the picture it is about."""


@dataclass(frozen=True)
class VisionSettings(Settings):
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


def build_vision_base(
    folder: Path, on_progress: Progress | None = None, settings: VisionSettings | None = None
) -> bool:
    """Train the base and write it to `folder`, unless the same one lies there complete.

    Returns True when it was built, False when `folder` already held it (nothing heavy is imported then).
    """
    settings = settings or VisionSettings()
    key = base.key_of(SOURCE, settings)
    if base.is_there(folder, key):
        return False

    chats = list(_chats(settings))
    tokenizer = _train_tokenizer(chats, settings)
    model = _train(chats, tokenizer, settings, on_progress)
    with files.replacing_folder(folder, key=key, settings=asdict(settings)) as temporary:
        base.write(temporary, model, tokenizer)
        files.write_text(temporary / "chat_template.jinja", fit.text_of("vision_template.jinja"))
        base.write_card(temporary, "vision_card.md", model)
        for name, config in _processor_configs(settings).items():
            files.write_json(temporary / f"{name}.json", config)
    return True


def _chats(settings: VisionSettings) -> Iterator[Shown]:
    """Yield every chat of the training run, with its picture if it has one."""
    rng = random.Random(settings.seed)
    for step in range(settings.steps):
        share = 1 if step < settings.picture_steps else settings.pictured
        for _ in range(settings.batch_size):
            yield _pictured(rng) if rng.random() < share else (base.chat(rng, base.turn), None)


def _pictured(rng: random.Random) -> Shown:
    """Draw a chat of three turns about a picture, which comes with the first; a fifth of the turns is about something
    else."""
    scene = rng.choice(pictures.SEEN)
    topics = tuple(pictures.TOPICS.values())

    def turn(rng: random.Random) -> tuple[str, str]:
        return base.turn(rng) if rng.random() < 0.2 else rng.choice(topics).draw(rng, scene.words())

    chat = base.chat(rng, turn, (3,))
    first = next(message for message in chat if message["role"] == "user")
    first["content"] = first["content"] + IMAGE if rng.random() < 0.25 else IMAGE + first["content"]
    return chat, pictures.draw(scene, rng)


def _train_tokenizer(chats: list[Shown], settings: VisionSettings) -> "Tokenizer":
    from tokenizers import AddedToken

    texts = [[{**turn, "content": turn["content"].replace(IMAGE, "")} for turn in chat] for chat, _ in chats]
    random.Random(settings.seed).shuffle(texts)  # it looks at the first of them
    tokenizer = base.train_tokenizer(texts, settings)
    tokenizer.add_special_tokens([AddedToken(IMAGE, special=True, normalized=False)])
    return tokenizer


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


def _train(
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
        patches = tower(_pixels([pictures.draw(scene, rng) for scene in scenes])).last_hidden_state
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
        chats, lambda shown: _encode(shown, tokenizer, settings), settings.batch_size, settings.seed
    ):
        ids, labels = fit.padded(batch)
        shown = [one.picture for one in batch if one.picture]
        loss = fit.loss(model, labels, input_ids=ids, pixel_values=_pixels(shown) if shown else None)
        descend(loss)
        yield loss
    model.model.vision_tower.requires_grad_(True)


def _encode(shown: Shown, tokenizer: "Tokenizer", settings: VisionSettings) -> Example:
    """Return ids and labels with as many IMAGE in place of one as a picture takes."""
    chat, picture = shown
    wide = [{**turn, "content": turn["content"].replace(IMAGE, IMAGE * _tokens(settings))} for turn in chat]
    return fit.encode(wide, tokenizer)._replace(picture=picture)


def _pixels(shown: "list[Image]") -> "Tensor":
    """Return the pictures as (picture, colour, row, column), from -1 to 1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([np.asarray(one) for one in shown])).permute(0, 3, 1, 2) / 127.5 - 1


def _processor_configs(settings: VisionSettings) -> dict[str, dict[str, Any]]:
    """Return the configs from which transformers makes the processor, by file."""
    tokenizer = base.tokenizer_config()
    side = {"height": pictures.SIDE, "width": pictures.SIDE}
    preprocessor = {
        "image_processor_type": "LlavaImageProcessor",
        "do_resize": True,
        "size": side,
        "resample": 3,
        "do_center_crop": False,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE,
        "patch_size": settings.patch_size,
        "vision_feature_select_strategy": "full",
        "num_additional_image_tokens": 0,
    }
    return {
        "tokenizer_config": {**tokenizer, "extra_special_tokens": {"image_token": IMAGE}},
        "preprocessor_config": {**preprocessor, "processor_class": "LlavaProcessor"},
        "processor_config": processor,
    }
