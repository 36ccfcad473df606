"""Boxes and references: what each family's texts have of them, and what a model learns."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.multimodal.build import build
from components.config.groups.multimodal import Multimodal
from components.media import MediaProcessor, Medium, load_processor
from components.models import load_tokenizer
from components.templates import ChatTemplate, Encoder, Grounding, Refused, encode
from components.templates.grounding import objects_of
from components.tokens import IGNORED
from tests.components.media.files import picture

LEGACY = "<|object_ref_start|>cat<|object_ref_end|><|box_start|>{}<|box_end|> <|box_start|>{}<|box_end|>".format
SPECIAL = ["<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"]
POINTS, LISTS = ("(50,100),(250,500)", "(500,750)"), "[50, 100, 250, 500] [500, 750]"
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llava": ("cat[(50,100),(250,500)] [(500,750)]", {}),
    "qwen": ("<ref>cat</ref><box>(50,100),(250,500)</box> <box>(500,750)</box>", {}),
    "qwen2_vl": (LEGACY(*POINTS), {}),
    "qwen3_omni_moe": (LEGACY(*POINTS), {}),
    "qwen3_vl": ("cat" + LISTS, {"bbox_format": "new"}),
    "internvl": ("<ref>cat</ref><box>[[50, 100, 250, 500]]</box> <box>[[500, 750]]</box>", {}),
    "florence2": ("cat<loc_50><loc_100><loc_250><loc_500> <loc_500><loc_750>", {}),
    "mimo_v2": (LEGACY("(4,6),(21,28)", "(42,42)"), {}),
    "qwen2_5_vl": ("cat[4, 6, 21, 28] [42, 42]", {"bbox_format": "new"}),
    "qwen2_5_omni": (LEGACY(*POINTS), {"norm_bbox": "norm1000"}),
}
"""Type of model to its text of a cat's box and a point in a picture of 60 x 40, of which Qwen2.5-VL sees 84 x 56."""
BOXES = {
    "real": [[3, 4, 15, 20], [30, 30]],
    "norm1": [[0.05, 0.1, 0.25, 0.5], [0.5, 0.75]],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen2_5_vl")
    build("qwen2_5_vl", folder)
    words = load_tokenizer(folder)
    words.add_special_tokens({"additional_special_tokens": SPECIAL})
    words.save_pretrained(folder)
    (folder / "100x28.png").write_bytes(picture(1, (100, 28)))
    (folder / "60x40.png").write_bytes(picture(0, (60, 40)))
    return folder


@pytest.fixture(scope="module")
def processor(folder: Path) -> MediaProcessor:
    processor = load_processor(folder, Multimodal(), folder)
    assert processor
    return processor


@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_writes_boxes_its_own_way(family: str, kind: str, processor: MediaProcessor) -> None:
    expected, options = FAMILIES[family]
    messages = [{"role": "user", "content": "<ref-object><bbox> <bbox>"}]
    objects = objects_of({"ref": ["cat"], "bbox": BOXES[kind], "bbox_type": kind}, messages)
    pictures = [Medium("image", "60x40.png", "")]
    [message] = Grounding(family, **options).written(messages, objects, pictures, processor)
    assert message["content"] == expected


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def row(question: str, answer: str, *images: str, **objects: Any) -> dict[str, Any]:
    messages = [said("user", "<image>" * len(images) + question), said("assistant", answer)]
    return {"messages": messages, "images": [{"path": path, "sha256": ""} for path in images], "objects": objects}


def chat_of(processor: MediaProcessor, model_type: str = "qwen2_5_vl", **options: Any) -> ChatTemplate:
    return ChatTemplate(processor.tokenizer, media=processor, grounding=Grounding(model_type), **options)


def outcomes(chat: ChatTemplate, *rows: dict[str, Any]) -> list[str]:
    """What is learned of each row, or why it is refused."""
    return [
        str(one) if isinstance(one, Refused) else str(chat.tokenizer.decode([i for i in one[0].labels if i != IGNORED]))
        for one in encode(rows, chat)
    ]


def test_boxes_of_an_answer_are_learned_in_pixels_of_what_the_model_sees(processor: MediaProcessor) -> None:
    one = row("Where is the <ref-object>?", "<bbox>", "60x40.png", ref=["cat"], bbox=[[3, 4, 15, 20]])
    two = row("Cats?", "<bbox> and <bbox>", "60x40.png", "100x28.png", bbox=[[50, 14], [3, 4]], image_id=[1, 0])
    seen = processor.size_seen(Medium("image", "100x28.png", ""))
    assert seen not in ((100, 28), (84, 56))
    other = f"({seen[0] // 2},{seen[1] // 2})"
    assert outcomes(chat_of(processor), one, two, row("Hi", "Yes.", "60x40.png")) == [
        "<|box_start|>(4,6),(21,28)<|box_end|><|im_end|>",
        f"<|box_start|>{other}<|box_end|> and <|box_start|>(4,6)<|box_end|><|im_end|>",
        "Yes.<|im_end|>",
    ]


def test_what_a_row_writes_itself_forges_no_box(processor: MediaProcessor) -> None:
    boxes: dict[str, Any] = {"bbox": [[0.1, 0.2]], "bbox_type": "norm1"}
    rows = [
        row("Where?", "<|box_start|>(1,2)<|box_end|>"),
        row("Where?", "<|box_start|>(100,200)<|box_end|> <bbox>", **boxes),
        row("Where is the <ref-object>?", "<bbox>", ref=["<|im_end|>"], **boxes),
        row("Where is the <ref-object>?", "<bbox>", ref=["<bbox><image>"], **boxes),
    ]
    *forged, odd = outcomes(chat_of(processor, "qwen2_vl"), *rows)
    tokens = ["'<|box_start|>' in message 2", "'<|box_start|>' in message 2", "'<|im_end|>' in message 1"]
    assert forged == [f"a text holds a control token of the tokenizer: {token}" for token in tokens]
    assert odd.startswith("a text holds a control token of the tokenizer: '<image>'")


def test_each_answer_of_a_preference_has_its_own_boxes(processor: MediaProcessor) -> None:
    boxes = [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]
    pair = {
        "prompt": [said("user", "Is the cat at <bbox>?")],
        "chosen": [said("assistant", "At <bbox>.")],
        "rejected": [said("assistant", "At <bbox>, I think.")],
        "objects": {"bbox": boxes, "bbox_type": "norm1"},
    }
    chat = chat_of(processor, "llava")
    batch = Encoder(chat, "preference")([pair], [""], [0])
    texts = {name: chat.tokenizer.decode(batch.tokens[f"{name}_ids"][0].as_py()) for name in ("chosen", "rejected")}
    assert not batch.refused
    assert "Is the cat at [(100,100)]?" in chat.tokenizer.decode(batch.tokens["prompt_ids"][0].as_py())
    assert texts == {"chosen": "At [(200,200)].<|im_end|>\n", "rejected": "At [(300,300)], I think.<|im_end|>\n"}


def test_a_question_to_be_judged_shows_its_boxes_to_rewards(processor: MediaProcessor) -> None:
    objects = {"bbox": [[0.1, 0.1]], "bbox_type": "norm1"}
    question = {"prompt": [said("user", "What is at <bbox>?")], "objects": objects}
    tokens = Encoder(chat_of(processor, "llava"), "prompt")([question], [""], [0]).tokens
    assert "[(100,100)]" in tokens["prompt"][0].as_py()
    assert '"objects":{"bbox":[[0.1,0.1]]' in tokens["extra"][0].as_py()


NO_BOX = "a box must be a list of two or four numbers"


@pytest.mark.parametrize(
    ("one", "reason"),
    {
        "more tags": (
            row("<bbox>?", "<bbox>", bbox=[[0.1, 0.1]], bbox_type="norm1"),
            "the texts have other numbers of tags than 'objects' has values: 2 <bbox>, 1",
        ),
        "a text for a box": (
            row("<bbox>?", "Yes.", bbox=["1,1,2,2"]),
            "a box must be a list of two or four numbers: 1,1,2,2",
        ),
        "three numbers": (
            row("<bbox>?", "Yes.", bbox=[[1, 2, 3]]),
            f"{NO_BOX}: [1, 2, 3]",
        ),
        "no number": (
            row("<bbox>?", "Yes.", bbox=[[1, None]]),
            f"{NO_BOX}: [1, None]",
        ),
        "a text for boxes": (row("?", "Yes.", bbox="1,1"), "'ref', 'bbox' and 'image_id' of 'objects' must be lists"),
        "a picture too few": (
            row("<bbox>?", "Yes.", bbox=[[1, 1]], image_id=[0, 1]),
            "'image_id' of 'objects' must have the number of a picture for each box",
        ),
        "a picture of no number": (
            row("<bbox>?", "Yes.", bbox=[[1, 1]], image_id=["first"]),
            "'image_id' of 'objects' must have the number of a picture for each box",
        ),
        "no picture": (row("<bbox>?", "Yes.", bbox=[[1, 1]]), "a box is in a picture that the row does not have"),
        "a plain text": (
            {"text": "<bbox>", "objects": {"bbox": [[1, 1]]}},
            "boxes are written into conversations alone, by the chat template",
        ),
    }.values(),
)
def test_what_cannot_be_written_is_named(one: dict[str, Any], reason: str, processor: MediaProcessor) -> None:
    assert outcomes(chat_of(processor), one) == [reason]
