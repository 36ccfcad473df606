"""Media of rows, from whatever a row says to references that the later stages read."""

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.config.groups.data import Data
from components.config.groups.validation import Validation
from components.data import (
    GateCounts,
    RawRow,
    StreamingGate,
    collect_rows,
    read_row,
    resolve,
    write_raw_rows,
)
from components.data.media import LIST, MediaStore, is_current
from components.errors import DataGateError
from tests.components.media.files import picture, sound

PICTURE, OTHER, SOUND = picture(1), picture(2, kind="JPEG"), sound()
BASE64 = b64encode(PICTURE).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with media in the dataset's folder and in another."""
    (tmp_path / "set/pictures").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set/pictures/1.png").write_bytes(PICTURE)
    (tmp_path / "elsewhere/2.jpg").write_bytes(OTHER)
    (tmp_path / "a b.wav").write_bytes(SOUND)
    return tmp_path


def fetched(folder: Path, rows: Any, name: str = "set/train.jsonl", **data: Any) -> list[dict[str, Any]]:
    """Return the rows of a dataset as they are written, and leave the list of their media in `raw`."""
    file = folder / name
    if isinstance(rows, list):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = resolve([name], folder, False, {}, folder / "memo.json")
    table = collect_rows(sources, [], Data(**data), folder).tables["train"]
    (folder / "raw").mkdir(exist_ok=True)
    store = MediaStore(folder / "media", folder / "hashes.json", folder, Data(**data))
    write_raw_rows(folder / "raw/train.parquet", table, store)
    store.write(folder / "raw" / LIST)
    store.remove_others()
    return [json.loads(raw) for raw in pq.read_table(folder / "raw/train.parquet")["raw"].to_pylist()]


def file(path: Path, content: bytes) -> dict[str, str]:
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest()}


def kept(content: bytes, suffix: str) -> dict[str, str]:
    sha = hashlib.sha256(content).hexdigest()
    return {"path": sha + suffix, "sha256": sha}


VALUES = {
    "a path beside the dataset": ("pictures/1.png", "set/pictures/1.png"),
    "a path in the workspace": ("set/pictures/1.png", "set/pictures/1.png"),
    "a path with a point": ("./pictures/../pictures/1.png", "set/pictures/../pictures/1.png"),
    "an object with a path": ({"path": "pictures/1.png", "bytes": None}, "set/pictures/1.png"),
    "an object with a URL": ({"url": "pictures/1.png", "detail": "low"}, "set/pictures/1.png"),
    "a reference": ({"path": "pictures/1.png", "sha256": "0" * 64}, "set/pictures/1.png"),
    "bytes": ({"bytes": BASE64, "path": "x.png"}, None),
    "bytes without padding": ({"bytes": BASE64.rstrip("=")}, None),
    "a data URL": (f"data:image/png;base64,{BASE64}", None),
    "a data URL of parameters": (f"DATA:image/png;name=a.png;base64,{BASE64}", None),
    "base64 alone": (BASE64, None),
    "base64 for URLs, in lines": (BASE64.replace("+", "-").replace("/", "_")[:60] + "\n" + BASE64[60:], None),
}


@pytest.mark.parametrize(("value", "path"), VALUES.values(), ids=VALUES)
def test_a_value_is_a_file_that_stays_or_bytes_that_are_kept(folder: Path, value: Any, path: str | None):
    (row,) = fetched(folder, [{"query": "<image>q", "response": "a", "images": [value]}])
    assert row["images"] == [file(folder / path, PICTURE) if path else kept(PICTURE, ".png")]
    assert [p.read_bytes() for p in (folder / "media").iterdir()] == ([] if path else [PICTURE])


def test_a_file_url_is_a_path(folder: Path):
    url = (folder / "a b.wav").as_uri()
    (row,) = fetched(folder, [{"query": "<audio>", "response": "a", "audios": [url]}])
    assert "%20" in url and row["audios"] == [file(folder / "a b.wav", SOUND)]


def test_root_image_dir_is_looked_up_first(folder: Path):
    (folder / "set/2.jpg").write_bytes(PICTURE)
    rows = [{"query": "<image>", "response": "a", "images": ["2.jpg"]}]
    assert fetched(folder, rows)[0]["images"] == [file(folder / "set/2.jpg", PICTURE)]
    assert fetched(folder, rows, root_image_dir="elsewhere")[0]["images"] == [file(folder / "elsewhere/2.jpg", OTHER)]


def test_bytes_of_parquet_are_kept_even_where_they_happen_to_be_a_text(folder: Path):
    silent = sound(0.2, rate=50, level=0)
    silent.decode()  # every byte is below 128
    table = pa.table(
        {
            "query": ["<image>q", "<audio>q"],
            "response": ["a", "a"],
            "images": [[{"bytes": OTHER, "path": "x"}], []],
            "audio": [None, {"bytes": silent, "path": "y.wav"}],
        }
    )
    pq.write_table(table, folder / "set/train.parquet")
    first, second = fetched(folder, None, "set/train.parquet", dataset_shuffle=False)
    assert (first["images"], second["audios"]) == ([kept(OTHER, ".jpg")], [kept(silent, ".wav")])


def test_members_of_an_archive_are_kept(folder: Path):
    with ZipFile(folder / "set/all.zip", "w") as archive:
        row = {"query": "<image>", "response": "a", "images": ["p/1.png"]}
        archive.writestr("all/train.jsonl", json.dumps(row))
        archive.writestr("all/p/1.png", PICTURE)
    assert fetched(folder, None, "set/all.zip")[0]["images"] == [kept(PICTURE, ".png")]


def test_the_frames_of_a_video_are_references_too(folder: Path):
    part = {"type": "video", "video": ["pictures/1.png", f"data:;base64,{BASE64}"], "fps": 2}
    row = {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": "a"}]}
    (found,) = fetched(folder, [row])
    assert found["videos"] == [[file(folder / "set/pictures/1.png", PICTURE), kept(PICTURE, ".png")]]
    assert found["messages"][0]["content"] == "<video>"


UNFOUND = {
    "no such file": ("3.png", "no such file in .*/set or .*"),
    "no such absolute file": ("/nowhere/3.png", "no such file"),
    "a folder": ("pictures", "is no regular file"),
    "a device": ("/dev/zero", "is no regular file"),
    "a URL that is not to be downloaded": ("http://x/1.png", "is not downloaded without --download_media true"),
    "another scheme": ("s3://bucket/1.png", "s3:// is no address that is read"),
    "a scheme of another kind": ("ftp://host/1.png", "ftp:// is no address that is read"),
    "a data URL without data": ("data:image/png;base64", "a data URL without a comma before its data"),
    "a data URL of what is no base64": ("data:image/png;base64,%%%", "a data URL whose data are no base64"),
    "an object of nothing": ({"detail": "low"}, "an object without bytes, path or url"),
    "an object of empty values": ({"bytes": "", "path": ""}, "an object without bytes, path or url"),
    "bytes as numbers": ({"bytes": [137, 80]}, "its bytes are no text in base64"),
    "a list": (["pictures/1.png", []], "a list, which only a video's frames may be"),
    "an empty list": ([], "a list, which only a video's frames may be"),
    "a blank": (" ", "no address"),
    "a name with a zero": ("a\0b.png", ".*null.*|no such file.*"),
    "a very long name": ("x/" * 5000, "File name too long|no such file.*"),
    "a home that nobody has": ("~nobody-is-called-so/1.png", "Could not determine home directory.*|no such file.*"),
}


@pytest.mark.parametrize(("value", "problem"), UNFOUND.values(), ids=UNFOUND)
def test_what_cannot_be_found_stays_in_the_row_with_its_problem(folder: Path, value: Any, problem: str):
    import re

    row = {"query": "<video><image>", "response": "a", "videos": [value], "images": ["pictures/1.png"]}
    (found,) = fetched(folder, [row])
    (reference,) = found["videos"]
    reference = reference[-1] if isinstance(reference, list) else reference
    assert "sha256" not in reference and re.fullmatch(problem, reference["problem"])
    assert len(reference["path"]) <= 200 and found["images"] == [file(folder / "set/pictures/1.png", PICTURE)]


def test_a_row_without_media_and_one_that_no_format_reads_stay_as_they_are(folder: Path):
    rows = [{"query": 'an "image"', "response": "a", "x": 1}, {"image": "pictures/1.png", "chosen": "a"}]
    assert fetched(folder, rows, dataset_shuffle=False) == rows
    assert not (folder / "raw" / LIST).exists()


CANONICAL: dict[str, dict[str, Any]] = {
    "a prompt with columns for rewards": {"prompt": "<image>q", "solution": "4", "margin": 2},
    "a class": {"query": "<image>q", "label": "cat"},
    "a judged pair": {"sentence1": "<image>a", "sentence2": "b", "score": 0.5},
    "a preference with a margin": {"prompt": "<image>q", "chosen": "a", "rejected": "b", "margin": 2},
    "a judged answer": {"prompt": "<image>q", "completion": "a", "label": True},
    "weights": {"prompt": [{"role": "user", "content": "<image>"}], "completion": "a"},
    "boxes": {"query": "<image><bbox>", "response": "a", "objects": {"ref": ["x"], "bbox": [[1, 2, 3, 4]]}},
    "a text": {"text": "<image>q"},
}


@pytest.mark.parametrize("row", CANONICAL.values(), ids=CANONICAL)
def test_a_row_with_media_is_canonical_and_read_again_as_it_is(folder: Path, row: dict[str, Any]):
    (found,) = fetched(folder, [row | {"image": "pictures/1.png"}])
    reference = [file(folder / "set/pictures/1.png", PICTURE)]
    assert found == read_row(json.dumps(row)) | {"images": reference}
    assert read_row(json.dumps(found)) == found


def test_a_change_of_a_file_is_seen_and_the_list_is_what_it_is_seen_by(folder: Path):
    rows = [{"query": "<image>", "response": "a", "images": ["pictures/1.png", {"bytes": b64encode(OTHER).decode()}]}]
    rows.append({"query": "<image>", "response": "b", "images": ["3.png"]})
    fetched(folder, rows)

    def current() -> bool:
        return is_current(folder / "raw", folder / "media", folder / "hashes.json")

    own, other = folder / "set/pictures/1.png", next((folder / "media").iterdir())
    assert current()
    own.write_bytes(picture(3))
    assert not current()
    own.write_bytes(PICTURE)
    assert current()
    own.unlink()
    assert not current()
    own.write_bytes(PICTURE)
    other.unlink()
    assert not current()
    fetched(folder, rows)
    (folder / "set/3.png").write_bytes(PICTURE)
    assert not current()


def test_a_file_of_the_same_size_and_time_is_not_read_again(folder: Path):
    rows = [{"query": "<image>", "response": "a", "images": ["pictures/1.png"]}]
    before = fetched(folder, rows)
    (folder / "set/pictures/1.png").chmod(0)
    hashes = json.loads((folder / "hashes.json").read_text())
    assert [value[2] for value in hashes.values()] == [before[0]["images"][0]["sha256"]]
    hashes[str(folder / "set/pictures/1.png")][2] = "f" * 64
    (folder / "hashes.json").write_text(json.dumps(hashes))
    assert fetched(folder, rows)[0]["images"][0]["sha256"] == "f" * 64


def test_kept_files_of_no_row_go(folder: Path):
    fetched(folder, [{"query": "<image>", "response": "a", "images": [BASE64]}])
    fetched(folder, [{"query": "<image>", "response": "a", "images": ["pictures/1.png"]}])
    assert not [*(folder / "media").iterdir()]


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server's URL, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/gone":
                self.send_error(404)
                return
            if self.path in ("/file", "/loop"):
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd" if self.path == "/file" else "/loop")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PICTURE if self.path == "/1.png" else b"\0" * 3000)

        def log_message(self, format: str, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()


def test_urls_are_downloaded_once_where_it_is_asked_for(folder: Path, server: tuple[str, list[str]]):
    url, asked = server
    rows: list[dict[str, Any]] = [
        {"query": f"<image>{i}", "response": "a", "images": [f"{url}/1.png"]} for i in range(3)
    ]
    assert "problem" in fetched(folder, rows)[0]["images"][0] and not asked
    assert fetched(folder, rows, download_media=True)[0]["images"] == [kept(PICTURE, ".png")]
    assert asked == ["/1.png"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/gone", "the server answers 404"),
        ("/file", "the server answers 302|cannot be downloaded .*"),
        ("/loop", "the server answers 302|cannot be downloaded .*"),
    ],
)
def test_a_download_that_fails_is_named_and_tried_again(
    folder: Path, server: tuple[str, list[str]], path: str, problem: str
):
    import re

    (row,) = fetched(folder, [{"query": "<image>", "response": "a", "images": [server[0] + path]}], download_media=True)
    assert re.fullmatch(problem, row["images"][0]["problem"])
    assert not is_current(folder / "raw", folder / "media", folder / "hashes.json")


def test_a_download_has_a_largest_size(server: tuple[str, list[str]]):
    from components.data.media.downloads import DownloadError, download

    assert len(download(f"{server[0]}/large", 3000)) == 3000
    with pytest.raises(DownloadError, match="more than 2,999 bytes"):
        download(f"{server[0]}/large", 2999)
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        download("http://127.0.0.1:9/x")


def test_a_stream_refuses_media_in_one_sentence(folder: Path):
    row = {"query": "<image>q", "response": "a", "images": ["pictures/1.png"]}
    raw = RawRow("set/train.jsonl", 3, json.dumps(row).encode())
    with pytest.raises(DataGateError, match=r"^set/train.jsonl:3: holds media, which a stream"):
        StreamingGate(Validation(), folder)([raw], GateCounts())
