"""Rows with media in every dialect become one; folders and archives of media are rows."""

import io
import json
import tarfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from components.data import read_row
from components.errors import DataGateError
from components.media import with_tags
from tests.components.data.test_media import PICTURE, SOUND, fetched, file, folder, kept

__all__ = ["folder"]

Row = dict[str, Any]


def user(content: Any) -> Row:
    return {"role": "user", "content": content}


def assistant(content: str = "A cat.") -> Row:
    return {"role": "assistant", "content": content}


def part(kind: str, **beside: Any) -> Row:
    return {"type": kind, **beside}


ASKED = {"messages": [user("<image>What?"), assistant()], "images": ["1.png"]}
TEXT = part("text", text="What?")
DIALECTS: dict[str, tuple[Row, Row]] = {
    "LLaVA": (
        {"id": "7", "image": "1.png", "conversations": [
            {"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A cat."}]}, ASKED),
    "LLaVA without a picture": (
        {"id": "7", "image": "", "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "x"}]},
        {"messages": [user("What?"), assistant("x")]}),
    "LLaMA-Factory's messages": (ASKED, ASKED),
    "LLaMA-Factory's ShareGPT": (
        {"conversations": [{"from": "human", "value": "<video><audio>?"}, {"from": "gpt", "value": "x"}],
         "videos": ["1.mp4"], "audios": ["1.wav"]},
        {"messages": [user("<video><audio>?"), assistant("x")], "videos": ["1.mp4"], "audios": ["1.wav"]}),
    "ms-swift's query": ({"query": "<image>What?", "response": "A cat.", "images": "1.png"}, ASKED),
    "ms-swift's bytes": (
        {"query": "<image>What?", "response": "A cat.", "images": [{"bytes": "AA==", "path": None}]},
        ASKED | {"images": [{"bytes": "AA==", "path": None}]}),
    "OpenAI's": (
        {"messages": [user([part("image_url", image_url={"url": "1.png", "detail": "low"}), TEXT]), assistant()]},
        ASKED),
    "OpenAI's answers": (
        {"messages": [user([part("input_image", image_url="1.png"), part("input_text", text="What?")]), assistant()]},
        ASKED),
    "Qwen's": ({"messages": [user([part("image", image="1.png", max_pixels=9), TEXT]), assistant()]}, ASKED),
    "Qwen's video and sound": (
        {"messages": [user([part("video_url", video_url={"url": "1.mp4"}), part("audio_url", audio_url="1.wav")]),
                      assistant()]},
        {"messages": [user("<video><audio>"), assistant()], "videos": ["1.mp4"], "audios": ["1.wav"]}),
    "OpenAI's sound": (
        {"messages": [user([part("input_audio", input_audio={"data": "AA==", "format": "wav"})]), assistant()]},
        {"messages": [user("<audio>"), assistant()], "audios": ["data:audio/wav;base64,AA=="]}),
    "TRL's column": ({"messages": [user("What?"), assistant()], "images": ["1.png"]}, ASKED),
    "TRL's parts without addresses": (
        {"messages": [user([part("image"), TEXT]), assistant()], "images": ["1.png"]}, ASKED),
    "TRL's prompt and completion": ({"prompt": "What?", "completion": "A cat.", "image": "1.png"}, ASKED),
    "TRL's prompt of messages": (
        {"prompt": [user("What?")], "completion": [assistant()], "images": ["1.png"]}, ASKED),
    "a preference": (
        {"prompt": "What?", "chosen": "a", "rejected": "b", "images": ["1.png"]},
        {"prompt": [user("<image>What?")], "chosen": [assistant("a")], "rejected": [assistant("b")],
         "images": ["1.png"]}),
    "a preference with the picture in both": (
        {"chosen": [user([part("image", image="1.png"), TEXT]), assistant("a")],
         "rejected": [user([part("image", image="1.png"), TEXT]), assistant("b")]},
        {"prompt": [user("<image>What?")], "chosen": [assistant("a")], "rejected": [assistant("b")],
         "images": ["1.png"]}),
    "ms-swift's preference": (
        ASKED | {"rejected_response": "b"},
        {"prompt": [user("<image>What?")], "chosen": [assistant()], "rejected": [assistant("b")],
         "images": ["1.png"]}),
    "a judged answer": (
        {"query": "What?", "response": "a", "label": False, "images": ["1.png"]},
        {"prompt": [user("<image>What?")], "completion": [assistant("a")], "label": False, "images": ["1.png"]}),
    "a prompt": (
        {"prompt": [user("What?")], "solution": "4", "image": "1.png"},
        {"prompt": [user("<image>What?")], "extra": {"solution": "4"}, "images": ["1.png"]}),
    "media anywhere": (
        {"messages": [
            {"role": "system", "content": [part("image", image="0.png"), part("text", text="This is you.")]},
            user([TEXT, part("image", image="1.png"), part("image", image="2.png")]), assistant(),
            {"role": "tool", "content": [part("image", image="3.png")]}, assistant("b")]},
        {"messages": [{"role": "system", "content": "<image>This is you."}, user("What?<image><image>"), assistant(),
                      {"role": "tool", "content": "<image>"}, assistant("b")],
         "images": ["0.png", "1.png", "2.png", "3.png"]}),
    "a list in a cell of CSV": (
        {"query": "What?", "response": "A cat.", "images": '["1.png", "2.png"]'},
        {"messages": [user("<image><image>What?"), assistant()], "images": ["1.png", "2.png"]}),
    "a caption": (
        {"image": "1.png", "caption": "A cat."}, {"messages": [user("<image>"), assistant()], "images": ["1.png"]}),
    "a caption called text": (
        {"video": "1.mp4", "text": "A cat."}, {"messages": [user("<video>"), assistant()], "videos": ["1.mp4"]}),
    "a class": (
        {"audio": "1.wav", "label": 3}, {"prompt": [user("<audio>")], "extra": {"label": 3}, "audios": ["1.wav"]}),
    "a text with pictures inside": (
        {"text": "A <image> and <image>.", "images": ["1.png", "2.png"]},
        {"text": "A <image> and <image>.", "images": ["1.png", "2.png"]}),
    "an answer alone": ({"response": "A cat.", "images": ["1.png"]}, {"text": "<image>A cat.", "images": ["1.png"]}),
    "an assistant alone": (
        {"messages": [assistant()], "images": ["1.png"]},
        {"messages": [assistant("<image>A cat.")], "images": ["1.png"]}),
    "boxes": (
        ASKED | {"objects": {"ref": ["cat"], "bbox": [[1, 2, 3, 4]], "bbox_type": "real", "image_id": [0]}},
        ASKED | {"objects": {"ref": ["cat"], "bbox": [[1, 2, 3, 4]], "bbox_type": "real", "image_id": [0]}}),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "row"), DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_becomes_one(raw: Row, row: Row):
    assert with_tags(read_row(json.dumps(raw))) == row
    assert read_row(json.dumps(row)) == row


REFUSED = {
    "media in 'system'": (
        {"system": [part("image", image="1.png")], "query": "q", "response": "a"},
        "'system' holds media in its parts",
    ),
    "media in 'history'": (
        {"history": [user([part("image", image="1.png")])], "query": "q", "response": "a"},
        "'history' holds media in its parts",
    ),
    "media of a positive": (
        {"messages": [user("q")], "positive_messages": [[user([part("image", image="1.png")])]]},
        "'positive_messages' holds media in its parts",
    ),
    "pictures of the rejected answer": (
        {"prompt": "q", "chosen": "a", "rejected": "b", "rejected_images": ["1.png"]},
        "'rejected_images': both answers are to the media of the prompt",
    ),
    "a broken list in a cell": (
        {"query": "q", "response": "a", "images": '["1.png"'},
        "'images' is a text that is not",
    ),
    "a number in a list in a cell": ({"query": "q", "response": "a", "images": "[1]"}, "'images' must be addresses"),
}


@pytest.mark.parametrize(("raw", "reason"), REFUSED.values(), ids=REFUSED)
def test_media_whose_place_nobody_can_tell_are_refused(raw: Row, reason: str):
    with pytest.raises(ValueError, match=f"^{reason}"):
        read_row(json.dumps(raw))


def test_a_folder_with_a_list_of_its_files(folder: Path):
    (folder / "set/metadata.jsonl").write_text(
        '{"file_name": "pictures/1.png", "text": "A cat.", "n": 1}\n{"file_name": "notes.md", "text": "No medium."}\n'
    )
    first, second = fetched(folder, None, "set", dataset_shuffle=False)
    assert first == {
        "messages": [user("<image>"), assistant()],
        "images": [file(folder / "set/pictures/1.png", PICTURE)],
    }
    assert second["text"] == "No medium."


def test_a_folder_of_captions(folder: Path):
    (folder / "pairs").mkdir()
    (folder / "pairs/a.png").write_bytes(PICTURE)
    (folder / "pairs/a.txt").write_text("A cat.\nIt sits.\n")
    (folder / "pairs/b.wav").write_bytes(SOUND)
    (folder / "pairs/b.txt").write_text("A tone.")
    first, second = fetched(folder, None, "pairs", dataset_shuffle=False)
    assert first == {
        "messages": [user("<image>"), assistant("A cat.\nIt sits.")],
        "images": [file(folder / "pairs/a.png", PICTURE)],
    }
    assert second["audios"] == [file(folder / "pairs/b.wav", SOUND)]


def tarred(path: Path, **members: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_shard_of_webdataset(folder: Path):
    question = json.dumps({"messages": [user("<image>What?"), assistant()], "image": "b.0.png"}).encode()
    members = {
        "x/a.png": PICTURE, "x/a.txt": b"A cat.\n", "x/a.npy": b"?", "x/._a.png": b"?",
        "x/b.0.png": PICTURE, "x/b.json": question,
        "x/c.wav": SOUND, "x/c.cls": b"3",
        "y/c.json": b'{"query": "q", "response": "a"}',
    }  # fmt: skip
    tarred(folder / "set/0.tar", **members)
    rows = fetched(folder, None, "set/0.tar", dataset_shuffle=False)
    assert rows == [
        {"messages": [user("<image>"), assistant()], "images": [kept(PICTURE, ".png")]},
        {"messages": [user("<image>What?"), assistant()], "images": [kept(PICTURE, ".png")]},
        {"prompt": [user("<audio>")], "extra": {"label": 3}, "audios": [kept(SOUND, ".wav")]},
        {"query": "q", "response": "a"},
    ]


SHARDS = {
    "no archive": (b"x" * 2000, "not a tar archive that can be read: .*"),
    "cut short": (None, "not a tar archive that can be read: unexpected end of data"),
    "nothing in it": ({}, "holds no members such as 0001.jpg and 0001.txt .*"),
    "a text that is no UTF-8": ({"a.txt": b"\xff"}, "the member 'a.txt' is not UTF-8"),
    "JSON that is none": ({"a.json": b"{"}, "the member 'a.json' is not JSON: .*"),
    "JSON that is no object": ({"a.json": b"[1]"}, r"the member 'a.json' must be an object, not a list"),
}


@pytest.mark.parametrize(("content", "reason"), SHARDS.values(), ids=SHARDS)
def test_a_damaged_shard_is_one_sentence(folder: Path, content: Any, reason: str):
    path = folder / "set/0.tar"
    if content is None:
        tarred(path, **{"a.png": PICTURE * 9})
        content = path.read_bytes()[:900]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        tarred(path, **content)
    with pytest.raises(DataGateError, match=rf"^set/0.tar:(1:)? {reason}") as caught:
        fetched(folder, None, "set/0.tar")
    assert "\n" not in str(caught.value)


def test_a_picture_of_base64_inside_of_a_message(folder: Path):
    url = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
    (row,) = fetched(folder, [{"messages": [user([part("image_url", image_url={"url": url}), TEXT]), assistant()]}])
    assert row == ASKED | {"images": [kept(PICTURE, ".png")]}
