"""Rows with media become tokens and batches; what goes wrong with them elsewhere is avoided, or named."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from components import models
from components.config.groups.multimodal import Multimodal
from components.errors import DataGateError, MartletError
from components.media import MediaError, MediaProcessor, Medium, load_processor
from components.templates import ChatTemplate, Encoder, strategy
from components.tokens import IGNORED, TokenRows
from components.training import features
from components.training.collators import Padded
from components.training.features import Features
from components.training.forward import learned_logits
from components.training.media import WithMedia, check_media

COLOURS = ("red", "green", "blue")
TURNS = [
    {"role": "user", "content": "<image>What is it, and <image> this?"},
    {"role": "assistant", "content": "Two colours."},
    {"role": "user", "content": "And this?<image>"},
    {"role": "assistant", "content": "Blue."},
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("pictures")
    references = []
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (56 + 28 * number, 56), colour).save(file := folder / f"{colour}.png")
        references.append({"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
    return references


def processor_of(model: Path) -> MediaProcessor:
    processor = load_processor(model, Multimodal(), Path("nowhere"))
    assert processor
    return processor


def encoded(processor: MediaProcessor, row: dict[str, Any], length: int | None = None, **options: Any) -> Any:
    chat = ChatTemplate(processor.tokenizer, media=processor, **options)
    return Encoder(chat, "sft", length, "right" if length else "delete", media=True)([row], ["rows"], [0])


def questions(pictures: list[dict[str, str]]) -> list[dict[str, Any]]:
    one = [{"role": "user", "content": "<image>Which colour?"}, {"role": "assistant", "content": "Green."}]
    text = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    return [{"messages": TURNS, "images": pictures}, {"messages": one, "images": [pictures[1]]}, {"messages": text}]


def test_ids_are_the_processors_and_labels_the_answers(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor = processor_of(sighted_model)
    row = TokenRows(encoded(processor, questions(pictures)[0]).tokens)[0]
    learned = processor.tokenizer.decode(row["input_ids"][row["labels"] != IGNORED])
    assert learned == "Two colours.<|im_end|>Blue.<|im_end|>"
    files = iter(pictures)
    messages = []
    for turn in TURNS:
        pieces = [piece for piece in turn["content"].replace("<image>", "\0image\0").split("\0") if piece]
        parts: list[dict[str, Any]] = [{"type": "text", "text": piece} for piece in pieces]
        for part in (part for part in parts if part["text"] == "image"):
            part |= {"type": "image", "image": Image.open(next(files)["path"])}
        messages.append({**turn, "content": parts})
    of_processor = processor.processor.apply_chat_template(messages, tokenize=True, return_dict=True)
    assert row["input_ids"].tolist() == list(of_processor["input_ids"][0])
    for medium in row["media"]:
        tokens = slice(medium["start"], medium["start"] + medium["length"])
        assert set(row["input_ids"][tokens].tolist()) == {processor.processor.image_token_id}


def test_adjacent_pictures_are_told_apart(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor = processor_of(sighted_model)
    media = [Medium("image", picture["path"], picture["sha256"]) for picture in pictures[:2]]
    whole = processor(processor.processor.image_token * 2, media)
    tokens = whole.features["image_grid_thw"].prod(1) // processor.processor.image_processor.merge_size**2
    assert whole.spans
    assert [len(whole.text[slice(*span)]) for span in whole.spans] == (tokens * len("<|image|>")).tolist()


def test_media_are_not_learned_where_all_else_is(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor = processor_of(sighted_model)
    row = TokenRows(encoded(processor, questions(pictures)[0], loss_scale=strategy("all", [])).tokens)[0]
    is_medium = row["input_ids"] == processor.processor.image_token_id
    assert is_medium.sum() >= 3
    assert ((row["labels"] == IGNORED) == is_medium).all()


def test_a_batch_has_the_losses_that_transformers_computes(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor, model = processor_of(sighted_model), models.load_model(sighted_model, "float32").eval()
    rows = [TokenRows(encoded(processor, row).tokens)[0] for row in questions(pictures)]
    batch = WithMedia(Padded(0), Features(processor, torch.float32, None))
    logits, tokens, _ = learned_logits(model, batch(rows))
    total = torch.nn.functional.cross_entropy(logits, tokens["labels"], reduction="sum")
    alone = []
    for row in rows:
        text = processor.tokenizer.decode(row["input_ids"])
        images = [Image.open(medium["path"]) for medium in row["media"] or ()]
        for medium in row["media"] or ():
            text = text.replace(processor.processor.image_token * medium["length"], processor.processor.image_token, 1)
        inputs = processor.processor(text=[text], images=[images] if images else None, return_tensors="pt")
        labels = torch.tensor(row["labels"])[None].long()
        alone.append(model(**inputs, labels=labels).loss.item() * int((labels != IGNORED).sum()))
    torch.testing.assert_close(total.item(), sum(alone), rtol=1e-4, atol=0)


def test_kept_features_are_the_same_and_no_more_than_the_room(
    sighted_model: Path, pictures: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = processor_of(sighted_model)
    references = [{**picture, "kind": "image", "frames": [], "placeholder": "<|image|>"} for picture in pictures[:2]]
    first, second = ([picture] for picture in references)
    plain = Features(processor, torch.bfloat16, None).of(first)
    monkeypatch.setattr(features, "MAX_BYTES", sum(value.nbytes for value in plain.values()) * 3 // 2)
    kept = Features(processor, torch.bfloat16, tmp_path)
    for _ in range(2):
        assert {name: value.tolist() for name, value in kept.of(first).items()} == {
            name: value.tolist() for name, value in plain.items()
        }
        kept.of(second)
    [file] = tmp_path.iterdir()
    file.write_bytes(b"")  # damaged, it is made again
    assert kept.of(first).keys() == plain.keys()
    changed = [{**first[0], "sha256": "0" * 64}]
    with pytest.raises(MediaError, match="has changed since it was fetched"):
        kept.of(changed)


def test_a_batch_without_media_takes_a_spare_row_of_which_nothing_is_learned(
    sighted_model: Path, pictures: list[dict[str, str]]
) -> None:
    processor = processor_of(sighted_model)
    with_pictures, _, text = (TokenRows(encoded(processor, row).tokens)[0] for row in questions(pictures))
    spare = {"input_ids": with_pictures["input_ids"], "media": with_pictures["media"]}
    batch = WithMedia(Padded(0), Features(processor, torch.float32, None), spare)([text])
    assert "media.pixel_values" in batch
    assert (batch["labels"] != IGNORED).sum(1).tolist() == [int((text["labels"] != IGNORED).sum()), 0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audios": [{"path": "a.wav", "sha256": ""}], "content": "<audio>?"}, "takes no audios"),
        ({"content": "<image> and <|image|>?"}, "control token"),
        ({"content": "<image><image>?"}, "cannot be used"),
        ({"answer": "Look: <image>", "content": "?"}, "the model writes texts alone"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(
    change: dict[str, Any], reason: str, sighted_model: Path, pictures: list[dict[str, str]]
) -> None:
    turns = [
        {"role": "user", "content": change.get("content", "<image>?")},
        {"role": "assistant", "content": change.get("answer", "Yes.")},
    ]
    media = {name: change[name] for name in ("audios", "images") if name in change} or {"images": [pictures[0]]}
    [refused] = encoded(processor_of(sighted_model), {"messages": turns, **media}).refused.values()
    assert reason in f"{refused.reason} {refused.detail}"


def test_a_medium_is_not_cut_and_a_changed_one_not_read(
    sighted_model: Path, pictures: list[dict[str, str]], tmp_path: Path
) -> None:
    processor, row = processor_of(sighted_model), questions(pictures)[1]
    [refused] = encoded(processor, row, length=8).refused.values()
    assert refused.reason == "longer than max_length"
    Image.new("RGB", (56, 56), "green").save(file := tmp_path / "other.png")
    changed = {**row, "images": [{"path": str(file), "sha256": pictures[1]["sha256"]}]}
    with pytest.raises(DataGateError, match="has changed since it was fetched"):
        encoded(processor, changed)
    with pytest.raises(DataGateError, match=r"gone.png: No such file"):
        encoded(processor, {**row, "images": [{"path": "gone.png", "sha256": ""}]})


def test_a_template_of_another_processor_is_refused(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor = processor_of(sighted_model)
    processor.tokenizer.chat_template = processor.tokenizer.chat_template.replace("<|{{ part.type }}|>", "<picture>")
    [refused] = encoded(processor, questions(pictures)[1]).refused.values()
    assert "writes '<|vision|><picture><|/vision|>' for an image" in refused.reason


def test_a_model_of_texts_alone_is_told(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    chat = ChatTemplate(processor_of(sighted_model).tokenizer)
    [refused] = Encoder(chat, "sft", media=True)([questions(pictures)[1]], ["rows"], [0]).refused.values()
    assert (refused.reason, refused.detail) == ("the model takes no images", "it takes texts alone")


def test_a_model_that_does_not_look_stops_the_run(sighted_model: Path, pictures: list[dict[str, str]]) -> None:
    processor, model = processor_of(sighted_model), models.load_model(sighted_model, "float32")
    job: Any = SimpleNamespace(
        model=model, processor=processor, rows=TokenRows(encoded(processor, questions(pictures)[1]).tokens)
    )
    check_media(job)
    with torch.no_grad():
        for weight in model.get_submodule("model.visual.merger").parameters():
            weight.zero_()
    with pytest.raises(MartletError, match="does not look at the rows' media"):
        check_media(job)


def test_a_medium_that_has_gone_is_one_sentence_from_another_process_too(sighted_model: Path, tmp_path: Path) -> None:
    processor = processor_of(sighted_model)
    Image.new("RGB", (56, 56), "red").save(file := tmp_path / "red.png")
    reference = {"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    row = {"messages": [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "Red."}]}
    rows = TokenRows(encoded(processor, {**row, "images": [reference]}).tokens)
    batch = WithMedia(Padded(0), Features(processor, torch.float32, None))
    file.unlink()
    for workers in (0, 1):
        loader = torch.utils.data.DataLoader(rows, 1, collate_fn=batch, num_workers=workers)  # type: ignore[arg-type]
        with pytest.raises(MartletError) as stopped:
            next(iter(loader))
        assert str(stopped.value) == f"train: a medium of the rows cannot be used: {file}: No such file or directory"
