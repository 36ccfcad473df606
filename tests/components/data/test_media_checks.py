"""Malformed media and rows with media: each is named by one check, in one sentence; what is fine is not named."""

import io
import re
import struct
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.data.report import ROW_THUMBNAILS, THUMBNAIL_PIXELS, write_report
from components.media import Facts, Inspector, Medium
from tests.components.data.gates import judged, pair, table
from tests.components.media.files import animation, picture, reference, sound, video

PICTURE, SOUND, VIDEO = picture(1, (60, 40)), sound(), video()
JPEG = picture(1, (60, 40), "JPEG")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says this size, with other data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def saved(mode: str, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (32, 32)).save(out, kind, **more)
    return out.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(1, (60, 40), "JPEG", exif=exif)


def medium(kind: str, content: bytes, suffix: str) -> dict[str, Any]:
    """A row with one medium."""
    return pair(f"<{kind}>What is it?") | {f"{kind}s": [reference(content, suffix)]}


def boxed(*tags: str, **objects: Any) -> dict[str, Any]:
    """A row with a picture of 60 x 40 and objects."""
    return pair(f"<image>{''.join(tags)}?") | {"images": [reference(PICTURE)], "objects": objects}


def missing(**value: Any) -> dict[str, Any]:
    return pair("<image>?") | {"images": [value]}


CHANGED = reference(picture(3, (60, 40))) | {"sha256": "0" * 64}
HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
MALFORMED: dict[str, tuple[str, Any, str]] = {
    "not found": ("media_missing", missing(path="a.png", problem="no such file"), r"image 1 \(a.png\): no such file"),
    "without a path": ("media_missing", missing(path="", problem="no address"), "image 1: no address"),
    "never looked up": ("media_missing", missing(path="a.png"), r"image 1 \(a.png\): was not looked up: run the .*"),
    "an address of a row of another tool": ("media_missing", missing(url="a.png"), "image 1: was not looked up.*"),
    "changed": ("media_missing", pair("<image>") | {"images": [CHANGED]}, "image 1 .*: the file has changed since .*"),
    "gone": ("media_missing", missing(path="/gone/a.png", sha256="1" * 64), "image 1 .*: No such file or directory"),
    "a frame not found": (
        "media_missing",
        pair("<video>") | {"videos": [[reference(PICTURE), {"path": "f2.png", "problem": "no such file"}]]},
        r"video 1, frame 2 \(f2.png\): no such file",
    ),
    "an empty list of frames": ("media_missing", pair("<video>") | {"videos": [[]]}, "video 1.*: was not looked up.*"),
    "a text as a picture": ("media_unreadable", medium("image", b"a text", ".png"), "not a picture in a format .*"),
    "an SVG": ("media_unreadable", medium("image", b"<svg xmlns='x'/>", ".svg"), "not a picture in a format .*"),
    "PostScript": ("media_unreadable", medium("image", b"%!PS-Adobe-3.0 EPSF-3.0\n", ".eps"), "not a picture in .*"),
    "nothing as a picture": ("media_unreadable", medium("image", b"", ".png"), "the file is empty"),
    "nothing as a sound": ("media_unreadable", medium("audio", b"", ".wav"), "the file is empty"),
    "nothing as a video": ("media_unreadable", medium("video", b"", ".mp4"), "the file is empty"),
    "a PNG cut short": ("media_unreadable", medium("image", PICTURE[:-40], ".png"), "a truncated or damaged pict.*"),
    "a JPEG cut short": ("media_unreadable", medium("image", JPEG[: len(JPEG) // 2], ".jpg"), "a truncated or .*"),
    "a header alone": ("media_unreadable", medium("image", PICTURE[:33], ".png"), "not a picture in a format .*"),
    "eight bytes": ("media_unreadable", medium("image", PICTURE[:8], ".png"), "(not a picture|a damaged).*"),
    "no pixels": ("media_unreadable", medium("image", png(60, 40), ".png"), "a truncated or damaged picture .*"),
    "a size of nothing": ("media_unreadable", medium("image", png(0, 40), ".png"), "(a damaged|not a pic|a trunc).*"),
    "a bomb": ("media_unreadable", medium("image", png(40000, 40000), ".png"), ".*taken for a decompression bomb"),
    "a wide bomb": ("media_unreadable", medium("image", png(2**31 - 1, 2), ".png"), ".*decompression bomb"),
    "a broken checksum": ("media_unreadable", medium("image", PICTURE[:30] + b"????" + PICTURE[34:], ".png"), ".*"),
    "a GIF of a header": ("media_unreadable", medium("image", animation()[:14], ".gif"), ".*"),
    "a TIFF of a header": ("media_unreadable", medium("image", b"II*\0\x08\0\0\0", ".tif"), ".*"),
    "a BMP of a header": ("media_unreadable", medium("image", b"BM" + b"\0" * 60, ".bmp"), ".*"),
    "a video as a picture": ("media_unreadable", medium("image", VIDEO, ".png"), r"a video \(.mp4\), not a picture"),
    "a sound as a picture": ("media_unreadable", medium("image", SOUND, ".png"), r"a sound \(.wav\), not a picture"),
    "a picture as a video": ("media_unreadable", medium("video", PICTURE, ".mp4"), r"a picture \(.png\), not a video"),
    "a sound as a video": ("media_unreadable", medium("video", SOUND, ".mp4"), r"a sound \(.wav\), not a video"),
    "a picture as a sound": ("media_unreadable", medium("audio", JPEG, ".wav"), r"a picture \(.jpg\), not a sound"),
    "a silent video as a sound": ("media_unreadable", medium("audio", VIDEO, ".wav"), "there is no sound in the file"),
    "a text as a video": ("media_unreadable", medium("video", b"x" * 500, ".mp4"), "not a video or a sound that .*"),
    "a text as a sound": ("media_unreadable", medium("audio", b"x" * 500, ".wav"), "not a video or a sound that .*"),
    "a video cut short": ("media_unreadable", medium("video", VIDEO[: len(VIDEO) // 2], ".mp4"), ".*"),
    "a list of other files": ("media_unreadable", medium("video", HLS, ".m3u8"), "not a video or a sound that .*"),
    "a script of other files": (
        "media_unreadable",
        medium("video", b"ffconcat version 1.0\nfile /etc/passwd\n", ".mp4"),
        "not a video or a sound that .*",
    ),
    "no samples": ("media_unreadable", medium("audio", sound(0), ".wav"), ".*"),
    "a header of a sound": ("media_unreadable", medium("audio", SOUND[:20], ".wav"), ".*"),
    "a frame that is none": (
        "media_unreadable",
        pair("<video>") | {"videos": [[reference(PICTURE), reference(b"text")]]},
        "not a picture in a format .*",
    ),
    "two tags for one": ("media_count", pair("<image><image>") | {"images": [reference(PICTURE)]}, "2 <image> tags .*"),
    "one tag for two": ("media_count", pair("<image>") | {"images": [reference(PICTURE)] * 2}, "1 <image> tag for .*"),
    "no tag": ("media_count", pair("What?") | {"images": [reference(PICTURE)]}, "0 <image> tags for 1 images"),
    "the tag of another kind": (
        "media_count",
        pair("<image><video>") | {"images": [reference(PICTURE)]},
        "1 <video> tag for 0 videos",
    ),
    "a tag in the rejected answer": (
        "media_count",
        {"prompt": "<image>?", "chosen": "a b", "rejected": "<image>", "images": [reference(PICTURE)]},
        "'rejected' holds the tag <image>: media belong into the prompt",
    ),
    "a long sound": ("media_long", medium("audio", sound(2.5), ".wav"), "audio 1 .*: 2.5 seconds, more than 2"),
    "a long video": ("media_long", medium("video", video(20, fps=8), ".mp4"), "video 1 .*: 2.5 seconds, more than 2"),
    "an animation": ("media_quality", medium("image", animation(), ".gif"), ".*: moves .3 pictures.: only .*"),
    "CMYK": ("media_quality", medium("image", saved("CMYK", "JPEG"), ".jpg"), ".*: is in the colours CMYK, .*"),
    "16 bits": ("media_quality", medium("image", saved("I;16", "PNG"), ".png"), ".*: is in the colours I;16, .*"),
    "turned": ("media_quality", medium("image", turned(), ".jpg"), ".*: is turned, as its EXIF says.*"),
    "tiny": ("media_quality", medium("image", picture(1, (3, 40)), ".png"), ".*: 3 x 40 pixels: shows next to nothing"),
    "a thread": ("media_quality", medium("image", picture(1, (14, 2800)), ".png"), ".*: one side is 200 times .*"),
    "another name": ("media_quality", medium("image", JPEG, ".png"), ".*: is a .jpg file under the name .png"),
    "silence": ("media_quality", medium("audio", sound(level=0), ".wav"), ".*: is silent"),
    "clipped": ("media_quality", medium("audio", sound(level=9), ".wav"), ".*: is clipped: .*% of the samples .*"),
    "six channels": ("media_quality", medium("audio", sound(channels=6), ".wav"), ".*: has 6 channels, .*"),
    "a tiny video": ("media_quality", medium("video", video(size=(8, 8)), ".mp4"), ".*: 8 x 8 pixels: shows next .*"),
    "a box of texts": ("boxes", boxed("<bbox>", bbox=[["1", "2", "3", "4"]]), "box 1: must be a list of numbers, .*"),
    "a box as a text": ("boxes", boxed("<bbox>", bbox=["1, 2, 3, 4"]), "box 1: must be a list of numbers, .*"),
    "boxes as a text": ("boxes", boxed("<bbox>", bbox="[[1, 2, 3, 4]]"), "'bbox' of 'objects' must be a list"),
    "a box of three": ("boxes", boxed("<bbox>", bbox=[[1, 2, 3]]), "box 1: has 3 numbers, not 2 or 4"),
    "a box outside": ("boxes", boxed("<bbox>", bbox=[[0, 0, 60, 42]]), r"box 1: .*: outside of the picture .60 x 40."),
    "a box before the edge": ("boxes", boxed("<bbox>", bbox=[[-9, 0, 5, 5]]), "box 1: .*: outside of the picture .*"),
    "a box the wrong way": ("boxes", boxed("<bbox>", bbox=[[9, 2, 3, 4]]), "box 1: .*: its right or bottom edge .*"),
    "a share of more than one": (
        "boxes",
        boxed("<bbox>", bbox=[[0, 0, 1.2, 1]], bbox_type="norm1"),
        "box 1: .*: outside of the picture .1 x 1.",
    ),
    "no such type of boxes": ("boxes", boxed(bbox_type="pixels"), "'bbox_type' must be one of real, norm1, not 'pix.*"),
    "a box in no picture": ("boxes", boxed("<bbox>", bbox=[[1, 2, 3, 4]], image_id=[1]), "box 1: is in picture 1, .*"),
    "a box in the picture true": ("boxes", boxed(bbox=[[1, 2, 3, 4]], image_id=[True]), "box 1: is in picture True.*"),
    "too few pictures": (
        "boxes",
        boxed("<bbox><bbox>", bbox=[[1, 2, 3, 4]] * 2, image_id=[0]),
        "'image_id' names 1 pictures for 2 boxes",
    ),
    "a tag without a box": ("boxes", boxed("<bbox><bbox>", bbox=[[1, 2, 3, 4]]), "2 <bbox> tags for 1 in 'bbox' .*"),
    "a name without a tag": ("boxes", boxed("<ref-object>", ref=["a", "b"]), "1 <ref-object> tag for 2 in 'ref' .*"),
    "a second box": ("boxes", boxed(bbox=[[1, 2, 3, 4], [1, 2, 3, 99]]), "box 2: .*: outside .*"),
    "a box that is no number": ("boxes", boxed(bbox=[[1, 2, 3, True]]), "box 1: must be a list of numbers, .*"),
}  # fmt: skip
FINE = {
    "a picture": medium("image", PICTURE, ".png"),
    "a JPEG": medium("image", JPEG, ".jpeg"),
    "grey": medium("image", saved("L", "PNG"), ".png"),
    "transparent": medium("image", saved("RGBA", "WEBP"), ".webp"),
    "a sound": medium("audio", SOUND, ".wav"),
    "two channels": medium("audio", sound(channels=2), ".wav"),
    "a video": medium("video", VIDEO, ".mp4"),
    "a video's sound track": medium("audio", video(sound=True), ".mp4"),
    "frames": pair("<video>?") | {"videos": [[reference(PICTURE), reference(PICTURE)]]},
    "kept bytes": medium("image", PICTURE, ".bin"),
    "tags of text alone": pair("What does <image><image> mean?"),
    "boxes": boxed("<ref-object><bbox><bbox>", ref=["a"], bbox=[[0, 0, 60, 40], [5, 5]], image_id=[0, 0]),
    "shares": boxed("<bbox>", bbox=[[0, 0.5, 1, 1]], bbox_type="norm1"),
    "boxes that no text asks for": boxed(ref=["a"], bbox=[[1, 2, 3, 4]]),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[tuple[str, str, str]]]:
    """What one gate says of each row: level, check, reason."""
    rows = [row for _, row, _ in MALFORMED.values()] + [*FINE.values()]
    actions: dict[str, Any] = {"on_duplicate": "ignore", "on_near_duplicate": "ignore", "on_truncated": "ignore"}
    folder = tmp_path_factory.mktemp("gate")
    actions |= {"on_similar_pictures": "ignore", "on_media_long": "drop", "on_media_quality": "drop"}
    limits: dict[str, Any] = {"max_audio_seconds": 2, "max_video_seconds": 2, "max_dropped": 1.0}
    verdict = judged(table(*rows), folder=folder / "gate", **actions, **limits)
    findings: dict[int, list[tuple[str, str, str]]] = {}
    for level in ("rejected", "warned"):
        for found in verdict.findings.of(level):
            findings.setdefault(found.row, []).append((level, found.check, found.reason))
    return findings


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_named_in_one_sentence(name: str, told: dict[int, list[tuple[str, str, str]]]):
    check, _, reason = MALFORMED[name]
    ((level, found, words),) = told[list(MALFORMED).index(name) + 1]
    if check == "media_unreadable":
        reason = rf"(image|video|audio) 1.*?: {reason}"
    assert (level, found) == ("rejected", check) and re.fullmatch(reason, words) and "\n" not in words
    assert len(words) < 250


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_is_not_named(name: str, told: dict[int, list[tuple[str, str, str]]]):
    assert len(MALFORMED) + list(FINE).index(name) + 1 not in told


def found(check: str, *rows: Any, val: Any = None, **more: Any) -> dict[int, str]:
    actions: dict[str, Any] = {f"on_{check}": "warn", "on_near_duplicate": "ignore", "on_duplicate": "ignore"} | more
    verdict = judged(table(*rows), table(val, source="v.jsonl") if val else None, **actions)
    return {f.row: f.reason for f in verdict.findings.of("warned") if f.check == check}


LONG = "Describe what you see on this picture in as many words as you like, please, and leave nothing out at all."


def test_the_same_question_of_other_pictures_is_another_row():
    others = [pair(f"<image>{LONG}", "A cat.") | {"images": [reference(picture(i, (60, 40)))]} for i in range(3)]
    again = [others[0], others[0] | {"images": [reference(picture(0, (60, 40)), ".jpg")]}]
    for check in ("duplicate", "near_duplicate"):
        more = {"on_duplicate": "ignore", "on_near_duplicate": "ignore", f"on_{check}": "warn"}
        assert set(found(check, *others, *again, **more)) == {4, 5}
    assert not found("leak", *others[1:], val=others[0])
    assert set(found("leak", *others, val=others[0])) == {1}
    pairs = [
        {"prompt": "<image>Which?", "chosen": a, "rejected": b, "images": [reference(picture(i, (60, 40)))]}
        for i, a, b in ((0, "a", "b"), (1, "b", "a"), (0, "b", "a"))
    ]
    assert set(found("contradiction", *pairs)) == {3}


def test_similar_pictures_are_those_of_the_same_text_or_of_the_validation():
    same, jpeg = picture(5, (96, 64)), picture(5, (48, 32), "JPEG", quality=60)
    rows = [
        pair("<image>What?", "A cat.") | {"images": [reference(same)]},
        pair("<image>What?", "A cat.") | {"images": [reference(jpeg, ".jpg")]},
        pair("<image>Where?", "There.") | {"images": [reference(jpeg, ".jpg")]},
        pair("<image>What?", "A cat.") | {"images": [reference(picture(6, (96, 64)))]},
        pair("<image>What?", "A cat.") | {"images": [reference(saved("RGB", "PNG"))]},
        pair("<image>What?", "A cat.") | {"images": [reference(saved("RGB", "BMP"), ".bmp")]},
    ]
    assert set(found("similar_pictures", *rows)) == {2}
    held_out = pair("<image>Who?", "Nobody.") | {"images": [reference(picture(6, (48, 32)))]}
    assert set(found("similar_pictures", *rows, val=held_out)) == {2, 4}


def test_each_content_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Medium] = []
    ask = Inspector._ask
    monkeypatch.setattr(Inspector, "_ask", lambda self, medium, size=0: asked.append(medium) or ask(self, medium, size))
    rows = [pair(f"<image>{i}") | {"images": [reference(PICTURE, suffix)]} for i, suffix in enumerate((".png", ".x"))]
    verdict = judged(table(*rows * 3), folder=tmp_path / "gate", group_rows=2)
    assert verdict.rows()["train"] and len(asked) == 1
    assert pq.read_metadata(tmp_path / "gate/raw/train.parquet").num_row_groups == 3


def test_a_file_that_never_ends_or_breaks_its_reader_stops_nobody(tmp_path: Path):
    import os
    import threading

    os.mkfifo(tmp_path / "endless")
    (tmp_path / "1.png").write_bytes(PICTURE)
    inspector = Inspector(tmp_path, 2, seconds=4)
    endless, whole = Medium("image", "endless", "1" * 64), Medium("image", "1.png", reference(PICTURE)["sha256"])
    hanging, read = inspector.facts([endless, whole])
    assert hanging == Facts(error="takes more than 4 seconds to read, or ends the process that reads it")
    assert (read.error, read.width) == ("", 60)
    inspector.close()
    assert threading.active_count() < 20 and not inspector._idle


def test_the_page_shows_the_pictures_of_the_rows_that_it_quotes(tmp_path: Path):
    frames = [reference(picture(i, (60, 40))) for i in range(6)]
    rows = [
        pair("<image><image>Two?") | {"images": [reference(PICTURE)]},
        pair("<video>Six?") | {"videos": [frames]},
        pair("<image>None?") | {"images": [reference(b"a text")]},
        pair("<audio>What?") | {"audios": [reference(SOUND, ".wav")]},
    ]
    verdict = judged(table(*rows), folder=tmp_path / "gate", max_dropped=1.0)
    write_report(tmp_path, verdict)
    page = (tmp_path / "data.html").read_text()
    shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(shown) == 1 + ROW_THUMBNAILS
    for small in shown:
        image = Image.open(io.BytesIO(b64decode(small)))
        assert max(image.size) <= THUMBNAIL_PIXELS
    before = page
    write_report(tmp_path, verdict)
    assert (tmp_path / "data.html").read_text() == before


def test_boxes_are_of_the_picture_upright(tmp_path: Path) -> None:
    image = reference(turned(), ".jpg")
    rows = [boxed("<bbox>", bbox=[[0, 0, *corner]]) | {"images": [image]} for corner in ((40, 60), (60, 40))]
    verdict = judged(table(*rows), folder=tmp_path, on_duplicate="ignore", on_near_duplicate="ignore", max_dropped=1.0)
    reasons = {finding.row: finding.reason for finding in verdict.findings.of("rejected") if finding.check == "boxes"}
    assert list(reasons.values()) == ["box 1: [0, 0, 60, 40]: outside of the picture (40 x 60)"]
