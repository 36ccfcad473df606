"""Files of rows: every kind, plain and compressed, and what is in memory while they are read."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.readers import _files, kind_of, read, suffixes
from components.data.readers import json as json_reader

ROWS = [{"query": "a", "response": "b"}, {"query": "c\n,\"'", "response": "燕 é\t\x00"}, {"query": "", "response": "d"}]


def rows_of(path: Path) -> list:
    return [(number, row) for number, row, _ in read(path, path.name)]


def ipc(rows: list, new=pa.ipc.new_file) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def parquet(rows: list) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue()


def zipped(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = b'query,response\na,b\n"c\n,""\'","\xe7\x87\x95 \xc3\xa9\t\x00"\n,d\n'


def tarred(**members: bytes) -> bytes:
    """A tar archive of members by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


FILES = {
    "x.jsonl": JSONL,
    "x.ndjson": JSONL.replace(b"\n", b"\r\n"),
    "x.json": json.dumps(ROWS).encode(),
    "indented.json": json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "marked.json": b"\xef\xbb\xbf\n" + json.dumps(ROWS).encode(),
    "lines.json": JSONL,
    "x.csv": CSV,
    "marked.csv": b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n").replace(b"c\r\n", b"c\n"),
    "x.tsv": b'query\tresponse\na\tb\n"c\n,""\'"\t"\xe7\x87\x95 \xc3\xa9\t\x00"\n\td\n',
    "x.parquet": parquet(ROWS),
    "x.arrow": ipc(ROWS),
    "stream.arrow": ipc(ROWS, pa.ipc.new_stream),
    "x.tar": tarred(**{f"{i}.json": json.dumps(row).encode() for i, row in enumerate(ROWS)}),
    "x.zip": zipped(
        **{"a/one.jsonl": JSONL[: JSONL.index(b"\n")], "two.json": json.dumps(ROWS[1:]).encode(), "b.md": b"#"}
    ),
}
COMPRESSED = {
    **{f"{name}.gz": gzip.compress(content) for name, content in FILES.items()},
    **{f"{name}.zst": pa.compress(content, "zstd", asbytes=True) for name, content in FILES.items()},
    "twice.jsonl.gz": gzip.compress(JSONL[:20]) + gzip.compress(JSONL[20:]),
    "LOUD.JSONL.GZ": gzip.compress(JSONL),
}


@pytest.mark.parametrize(("name", "content"), (FILES | COMPRESSED).items(), ids=FILES | COMPRESSED)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    assert [row for _, row in rows_of(tmp_path / name)] == ROWS


def test_every_kind_is_tried():
    assert {kind_of(name) for name in FILES} == set(suffixes()) - {".txt"}
    assert (kind_of("a.txt"), kind_of("a.md"), kind_of("a.gz"), kind_of("jsonl")) == (".txt", None, None, None)


def test_jsonl_is_numbered_by_line_and_gives_the_lines_own_bytes(tmp_path: Path):
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'\xef\xbb\xbf\n {"a" : 1.0}\r\n\n{"a":2}')
    assert list(read(file, "x")) == [(2, {"a": 1.0}, b'{"a" : 1.0}'), (4, {"a": 2}, b'{"a":2}')]


def test_csv_is_numbered_by_line(tmp_path: Path):
    file = tmp_path / "x.csv"
    file.write_text('query,response\na,b\n\n"c\n,""\'",燕 é\nd,\n', "utf-8-sig", newline="")
    assert [number for number, _ in rows_of(file)] == [2, 4, 6]


def test_the_lines_of_a_text_are_rows(tmp_path: Path):
    file = tmp_path / "x.txt"
    file.write_bytes(b"\xef\xbb\xbfone \n\n  \ntwo\r\nthree")
    assert rows_of(file) == [(1, {"text": "one "}), (4, {"text": "two"}), (5, {"text": "three"})]


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.txt"])
def test_lines_may_end_in_carriage_returns_alone(tmp_path: Path, name: str):
    lines = {"x.jsonl": ['{"a": 1}', '{"a": 2}'], "x.csv": ["a,b", "1,2", "3,4"], "x.txt": ["p", "q"]}[name]
    for end in ("\n", "\r"):
        (tmp_path / name).write_text(end.join([*lines, ""]), newline="")
        found = rows_of(tmp_path / name)
        assert len(found) == 2 and found[1][0] == found[0][0] + 1


def test_values_that_json_does_not_know_are_given_as_they_are(tmp_path: Path):
    file = tmp_path / "x.parquet"
    row = {"messages": [{"role": "user", "content": "hi"}], "n": None, "x": float("inf"), "image": {"bytes": b"\xff"}}
    pq.write_table(pa.Table.from_pylist([row] * 3), file, row_group_size=2)
    assert rows_of(file) == [(1, row), (2, row), (3, row)]


def test_a_field_that_is_null_in_a_struct_is_as_not_there(tmp_path: Path):
    calls = [[{"name": "f", "arguments": {"a": 1}}], [{"name": "g", "arguments": {"b": [{"c": 1}, {"d": None}, None]}}]]
    rows = [{"id": None, "messages": [{"role": "x", "tool_calls": call}]} for call in calls]
    table = pa.Table.from_pylist(rows)
    assert table["messages"][0].as_py()[0]["tool_calls"][0]["arguments"] == {"a": 1, "b": None}
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_stream(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    calls[1][0]["arguments"]["b"][1] = {}
    for name in ("x.parquet", "x.arrow"):
        assert [row for _, row in rows_of(tmp_path / name)] == rows


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('a\\"{}[],:é燕\n \ufffd', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"{},', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    rows=st.lists(st.dictionaries(st.text('ab"},{', max_size=4), VALUES, max_size=3), max_size=12),
    indent=st.none() | st.integers(0, 2),
    ascii_only=st.booleans(),
    piece=st.integers(1, 60),
)
def test_a_json_list_is_the_same_whatever_the_pieces_it_is_read_in(rows, indent, ascii_only, piece):
    content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "PIECE_BYTES", piece)
        found = list(json_reader.rows(io.BytesIO(content), json_reader.Faults("x.json")))
    assert [row for _, row, _ in found] == rows
    assert [number for number, _, _ in found] == list(range(1, len(rows) + 1))


@given(
    rows=st.lists(st.fixed_dictionaries({"a": VALUES}), min_size=1, max_size=8),
    at=st.integers(0, 10_000),
    put=st.sampled_from([b"", b"}", b"]", b",", b'"', b"\xff", b"\n", b"NaN"]),
    piece=st.integers(1, 60),
)
def test_a_malformed_list_is_refused_at_the_same_place_whatever_the_pieces(rows, at, put, piece):
    content = json.dumps(rows).encode()
    at %= len(content)
    content = content[:at] + put + content[at + 1 :]

    def told(size: int) -> tuple[list, str]:
        faults = json_reader.Faults("x.json")
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(json_reader, "PIECE_BYTES", size)
                found = [row for _, row, _ in json_reader.rows(io.BytesIO(content), faults)]
        except json_reader.DataGateError as error:
            return [], str(error)
        return ([] if faults.count else found), faults.first

    whole, pieces = told(1 << 20), told(piece)
    assert whole[0] == pieces[0]
    assert bool(whole[1]) == bool(pieces[1])
    try:
        expected = json.loads(content)
        right = isinstance(expected, list) and all(isinstance(row, dict) for row in expected)
    except ValueError:
        right = False
    assert not right or whole[0] == expected or whole[1]


def test_a_long_row_is_read_and_one_that_is_too_long_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_reader, "PIECE_BYTES", 64)
    monkeypatch.setattr(_files, "ROW_MAX_BYTES", 4096)
    file = tmp_path / "x.json"
    for size, read_whole in ((3000, True), (20_000, False)):
        file.write_text(json.dumps([{"a": 1}, {"a": "x" * size}, {"a": 2}]))
        try:
            assert len(rows_of(file)) == 3 and read_whole
        except json_reader.DataGateError as error:
            assert not read_whole and str(error).startswith("x.json:2: the row is longer than 4,096 bytes")
