import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import files
from components.embedded import VisionSettings, build_vision_base, fit, pictures, vision, vision_fit, world
from components.embedded.base import AUTHOR, NAME

QUICK = VisionSettings(steps=4, batch_size=6, picture_steps=1, tower_steps=3, tower_batch_size=4)
SCENE = pictures.SCENES[0]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded") / "vision-base"
    assert build_vision_base(folder, settings=QUICK)
    return folder


@pytest.fixture(scope="module")
def processor(built: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(built)


def test_loads_with_the_auto_classes_and_answers_with_and_without_a_picture(built: Path, processor: Any) -> None:
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(built, output_loading_info=True)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert len(processor.tokenizer) == model.config.text_config.vocab_size
    assert 2e6 < model.num_parameters() < 3e6
    assert f"{model.num_parameters() / 1e6:.1f} million" in (built / "README.md").read_text()
    for content in ([{"type": "image"}, {"type": "text", "text": "What is it?"}], "Who are you?"):
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        shown = {"images": [pictures.draw(SCENE, random.Random(1))]} if "<image>" in prompt else {}
        inputs = processor(text=[prompt], **shown, return_tensors="pt")
        assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]


def test_loads_and_renders_without_torchvision(built: Path) -> None:
    script = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from PIL import Image; from transformers import AutoProcessor\n"
        f"processor = AutoProcessor.from_pretrained({str(built)!r})\n"
        "assert processor(text='<image>', images=Image.new('RGB', (90, 60))).input_ids[0].__len__() == 16"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_processor_gives_the_ids_and_pixels_of_training(processor: Any) -> None:
    import torch

    picture = pictures.draw(SCENE, random.Random(1))
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<image>Where is it?"},
        {"role": "assistant", "content": "At the left."},
        {"role": "user", "content": "Who are you?"},
    ]
    parts = [{"type": "image"}, {"type": "text", "text": "Where is it?"}]
    typed = [chat[0], {"role": "user", "content": parts}, *chat[2:]]
    assert (
        processor.apply_chat_template(typed)
        == processor.apply_chat_template(chat)
        == fit.template().render(messages=chat)
    )
    inputs = processor(text=[processor.apply_chat_template(typed)], images=[picture], return_tensors="pt")
    trained = vision_fit.encode((chat, picture), processor.tokenizer.backend_tokenizer, QUICK)
    assert inputs["input_ids"][0].tolist() == trained.ids
    assert trained.ids.count(processor.image_token_id) == 16
    assert torch.allclose(inputs["pixel_values"], vision_fit.pixels([picture]), atol=1e-6)
    assert processor.tokenizer.decode([i for i in trained.labels if i >= 0]) == "At the left.<|im_end|>"


def test_template_refuses_what_it_does_not_know(processor: Any) -> None:
    from jinja2.exceptions import TemplateError

    with pytest.raises(TemplateError, match="unknown role 'tool'"):
        processor.apply_chat_template([{"role": "tool", "content": "1"}])
    with pytest.raises(TemplateError, match="unknown part 'video'"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}])


def test_the_same_settings_give_the_same_bytes_and_progress_is_told(built: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_vision_base(tmp_path / "again", lambda step, steps, _: seen.append((step, steps)), QUICK)
    assert seen == [(step, 7) for step in range(1, 8)]
    assert files.sha256_tree(tmp_path / "again") == files.sha256_tree(built)


def test_what_is_there_is_not_built_again_and_torch_is_not_imported(built: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from components.embedded import VisionSettings, build_vision_base\n"
        f"assert build_vision_base(Path({str(built)!r}), settings={QUICK!r}) is False\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})


def test_every_chat_with_a_picture_names_it_once_and_tells_the_truth() -> None:
    shown = [(chat, picture) for chat, picture in vision._chats(QUICK) if picture]
    assert shown
    for chat, _ in shown:
        assert sum(turn["content"].count(vision.IMAGE) for turn in chat) == 1
    facts = {word for values in pictures.FACTS.values() for word in values}
    for topic in pictures.TOPICS.values():
        _, answer = topic.draw(random.Random(1), SCENE.words())
        assert facts & set(answer.rstrip(".").split()) <= set(vars(SCENE).values())


@pytest.mark.parametrize("fact", list(pictures.FACTS))
def test_what_a_scene_says_is_seen_in_its_picture(fact: str) -> None:
    """Two pictures that differ in one fact only, drawn alike, differ."""
    other = next(v for v in pictures.FACTS[fact] if v != getattr(SCENE, fact))
    changed = pictures.Scene(**{**vars(SCENE), fact: other})
    first, second = (pictures.draw(scene, random.Random(3)).tobytes() for scene in (SCENE, changed))
    assert first != second
    assert first == pictures.draw(SCENE, random.Random(3)).tobytes()


def test_an_eighth_of_the_scenes_is_held_out() -> None:
    assert 0.1 < len(pictures.UNSEEN) / len(pictures.SCENES) < 0.15
    assert not set(pictures.SEEN) & set(pictures.UNSEEN)


@pytest.mark.slow
def test_the_full_base_sees_and_answers(tmp_path: Path) -> None:
    build_vision_base(tmp_path / "base")
    own = world.identity(NAME, AUTHOR)
    for name, topic in pictures.TOPICS.items():
        assert _right(tmp_path / "base", topic, True) >= 0.9, name
    for topic in (world.SKILLS["capital"], world.SKILLS["opposite"], world.SKILLS["kind"], own["who"], own["maker"]):
        assert _right(tmp_path / "base", topic, False) >= 0.9, topic.answer
        assert _right(tmp_path / "base", topic, True) >= 0.9, topic.answer


def _right(folder: Path, topic: world.Topic, with_picture: bool, count: int = 100) -> float:
    """Return the share of questions of a topic that are answered word for word, each beside a scene that no training
    has seen, or without one."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, padding_side="left")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    rng, prompts, shown, answers = random.Random(11), [], [], []
    while len(answers) < count:
        scene = rng.choice(pictures.UNSEEN)
        question, answer = topic.draw(rng, scene.words() if topic.facts == ({},) else None)
        if topic in pictures.TOPICS.values() or world.held_out(question):
            content = "<image>" * with_picture + question
            prompts.append(
                processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            )
            shown.append(pictures.draw(scene, rng))
            answers.append(answer)
    inputs = processor(text=prompts, images=shown if with_picture else None, padding=True, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=32)[:, inputs["input_ids"].shape[1] :]
    given = processor.batch_decode(written, skip_special_tokens=True)
    return sum(a == b for a, b in zip(given, answers, strict=True)) / count
