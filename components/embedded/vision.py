"""Train the tiny vision-language base: it says what is on the pictures of the toy world, and answers without one.

LLaVA's plan (Liu et al. 2023): a vision tower, a projector of two layers, a language model. The tower (SigLIP's shape)
first learns to name what is on a picture, and is then frozen; projector and language model learn from chats.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files
from components.embedded import base, fit, pictures
from components.embedded.base import Progress
from components.embedded.vision_fit import IMAGE, Shown, VisionSettings, train

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SOURCE = (*base.SOURCE, "pictures.py", "vision.py", "vision_fit.py", "vision_template.jinja", "vision_card.md")
"""The files that decide what the base is."""


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
    model = train(chats, tokenizer, settings, on_progress)
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
