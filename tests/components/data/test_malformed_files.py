"""Malformed files: each is read rightly, or refused in one sentence that says where and what to do.

Every case goes the way of `fetch`: resolved, read, written. What is right of a file that is refused is not taken.
"""

import contextlib
import gzip
import io
import json
import os
import stat
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.groups.data import Data
from components.data import collect_rows, readers, resolve, write_raw_rows
from components.data.readers import _files
from components.errors import ConfigError, DataGateError, MartletError
from tests.components.data.test_data_readers import COMPRESSED, FILES, ROWS, ipc, parquet, zipped

A, B = {"a": 1}, {"a": 2}
Cases = dict[str, tuple[str, bytes, str | list[Any]]]


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def fetched(folder: Path, spec: str, **settings: Any) -> list[Any]:
    """The rows that come out, and the files that are then in `folder / "out"`."""
    out = folder / "out"
    sources = resolve([spec], folder, False, {}, folder / ".memo.json")
    found = collect_rows(sources, [], Data(dataset_shuffle=False, **settings), folder)
    out.mkdir()
    write_raw_rows(out / "train.parquet", found.tables["train"])
    table = pq.read_table(out / "train.parquet")
    (described,) = found.manifest["sources"]
    assert described["rows"] == table.num_rows + described["left_out"]
    return [json.loads(raw) for raw in table["raw"].to_pylist()]


def check(folder: Path, spec: str, expected: str | list[Any]) -> None:
    before = sorted(path for path in folder.rglob("*"))
    if isinstance(expected, list):
        assert fetched(folder, spec) == expected
        return
    with pytest.raises((DataGateError, ConfigError)) as error:
        fetched(folder, spec)
    told = str(error.value)
    assert expected in told, told
    assert "\n" not in told and len(told) < 400 and "Error" not in told
    assert sorted(path for path in folder.rglob("*") if path.name != ".memo.json") == before


JSONL: Cases = {
    "cut off in a row": ("x.jsonl", b'{"a": 1}\n{"a": ', "x.jsonl:2: not JSON"),
    "cut off in a text": ("x.jsonl", b'{"a": 1}\n{"a": "b', "x.jsonl:2: not JSON"),
    "cut off in an escape": ("x.jsonl", b'{"a": "\\u00', "x.jsonl:1: not JSON"),
    "cut off in a character": ("x.jsonl", b'{"a": "\xe7\x87', "x.jsonl:1: not UTF-8: byte 0xe7 at column 8"),
    "cut off behind a row": ("x.jsonl", b'{"a": 1}\n{"a": 2}', [A, B]),
    "several faults": ("x.jsonl", b'{"a": 1}\n{a}\n{}\n{b}\n[]\n', "x.jsonl:2: not JSON: "),
    "several faults counted": ("x.jsonl", b'{"a": 1}\n{a}\n{}\n{b}\n[]\n', "; 2 more rows are malformed; mend"),
    "two faults counted": ("x.jsonl", b"{a}\n{b}\n", "; 1 more row is malformed"),
    "single quotes": ("x.jsonl", b"{'a': 1}\n", "x.jsonl:1: not JSON"),
    "no quotes": ("x.jsonl", b"{a: 1}\n", "x.jsonl:1: not JSON"),
    "Python's words": ("x.jsonl", b'{"a": True, "b": None}\n', "x.jsonl:1: not JSON"),
    "a comment": ("x.jsonl", b'// rows\n{"a": 1}\n', "x.jsonl:1: not JSON"),
    "a trailing comma in a row": ("x.jsonl", b'{"a": 1,}\n', "x.jsonl:1: not JSON"),
    "a trailing comma behind a row": ("x.jsonl", b'{"a": 1},\n{"a": 2}\n', "x.jsonl:1: not JSON"),
    "no colon": ("x.jsonl", b'{"a" 1}\n', "x.jsonl:1: not JSON: unexpected character, expected ':'"),
    "no comma": ("x.jsonl", b'{"a": 1 "b": 2}\n', "x.jsonl:1: not JSON"),
    "no closing brace": ("x.jsonl", b'{"a": 1\n{"a": 2}\n', "x.jsonl:1: not JSON"),
    "two closing braces": ("x.jsonl", b'{"a": 1}}\n', "x.jsonl:1: not JSON"),
    "NaN": ("x.jsonl", b'{"a": NaN}\n', "x.jsonl:1: not JSON"),
    "Infinity": ("x.jsonl", b'{"a": -Infinity}\n', "x.jsonl:1: not JSON"),
    "a number with a leading zero": ("x.jsonl", b'{"a": 01}\n', "x.jsonl:1: not JSON"),
    "a number with a plus": ("x.jsonl", b'{"a": +1}\n', "x.jsonl:1: not JSON"),
    "a number without an end": ("x.jsonl", b'{"a": 1.}\n', "x.jsonl:1: not JSON"),
    "a hexadecimal number": ("x.jsonl", b'{"a": 0x1}\n', "x.jsonl:1: not JSON"),
    "a very long number": ("x.jsonl", b'{"a": ' + b"9" * 400 + b".0}\n", "x.jsonl:1: not JSON"),
    "a NUL byte in a text": ("x.jsonl", b'{"a": "\x00"}\n', "x.jsonl:1: not JSON"),
    "a NUL byte between rows": ("x.jsonl", b'{"a": 1}\n\x00\n{"a": 2}\n', "x.jsonl:2: not JSON"),
    "a file of NUL bytes": ("x.jsonl", bytes(5000), "x.jsonl:1: not JSON"),
    "an escaped NUL": ("x.jsonl", b'{"a": "\\u0000"}\n', [{"a": "\0"}]),
    "a tab in a text": ("x.jsonl", b'{"a": "\t"}\n', "x.jsonl:1: not JSON"),
    "a text over two lines": ("x.jsonl", b'{"a": "b\nc"}\n', "x.jsonl:1: not JSON"),
    "an unknown escape": ("x.jsonl", b'{"a": "\\x41"}\n', "x.jsonl:1: not JSON"),
    "a lone high surrogate": ("x.jsonl", b'{"a": "\\ud800"}\n', "x.jsonl:1: not JSON: no low surrogate"),
    "a lone low surrogate": ("x.jsonl", b'{"a": "\\udc00"}\n', "x.jsonl:1: not JSON"),
    "a pair of surrogates": ("x.jsonl", b'{"a": "\\ud83d\\ude00"}\n', [{"a": "😀"}]),
    "a surrogate in UTF-8": ("x.jsonl", b'{"a": "\xed\xa0\x80"}\n', "x.jsonl:1: not UTF-8: byte 0xed"),
    "an overlong character": ("x.jsonl", b'{"a": "\xc0\x80"}\n', "x.jsonl:1: not UTF-8: byte 0xc0"),
    "nested too deep": ("x.jsonl", b'{"a": 1}\n{"a": ' + deep(10_000) + b"}\n", "x.jsonl:2: not JSON: depth limit"),
    "nested deep": ("x.jsonl", b'{"a": ' + deep(500) + b"}\n", [{"a": json.loads(deep(500))}]),
    "nested deep and never closed": ("x.jsonl", b'{"a":' * 10_000, "x.jsonl:1: not JSON: depth limit"),
    "a list as a row": ("x.jsonl", b'{"a": 1}\n["q"]\n', "x.jsonl:2: a row must be an object {…}, not a list"),
    "a text as a row": ("x.jsonl", b'"q"\n', "x.jsonl:1: a row must be an object {…}, not a string"),
    "a number as a row": ("x.jsonl", b"1\n", "x.jsonl:1: a row must be an object {…}, not a number"),
    "true as a row": ("x.jsonl", b"true\n", "x.jsonl:1: a row must be an object {…}, not true or false"),
    "null as a row": ("x.jsonl", b"null\n", "x.jsonl:1: a row must be an object {…}, not null"),
    "a JSON list": ("x.jsonl", b'[{"a": 1}, {"a": 2}]', "x.jsonl:1: a row must be an object {…}, not a list"),
    "an indented JSON list": ("x.jsonl", b'[\n {"a": 1}\n]', "x.jsonl:1: not JSON"),
    "a byte order mark": ("x.jsonl", b'\xef\xbb\xbf{"a": 1}\n', [A]),
    "a byte order mark alone": ("x.jsonl", b"\xef\xbb\xbf", "x.jsonl: the dataset is empty"),
    "a byte order mark within": ("x.jsonl", b'{"a": 1}\n\xef\xbb\xbf{"a": 2}\n', "x.jsonl:2: not JSON"),
    "UTF-16": ("x.jsonl", '{"a": 1}\n'.encode("utf-16"), "x.jsonl:1: not UTF-8: byte 0xff at column 1"),
    "UTF-16 without a mark": ("x.jsonl", '{"a": 1}\n'.encode("utf-16-le"), "x.jsonl:1: not JSON"),
    "UTF-32": ("x.jsonl", '{"a": 1}\n'.encode("utf-32"), "x.jsonl:1: not UTF-8"),
    "Latin-1": ("x.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', "x.jsonl:2: not UTF-8: byte 0xe9 at column 11"),
    "GB 18030": ("x.jsonl", '{"a": "燕"}\n'.encode("gb18030"), "x.jsonl:1: not UTF-8"),
    "lines that end in CR": ("x.jsonl", b'{"a": 1}\r{"a": 2}\r', [A, B]),
    "lines that end in CR LF": ("x.jsonl", b'{"a": 1}\r\n\r\n{"a": 2}\r\n', [A, B]),
    "a CR within a line": ("x.jsonl", b'{"a": 1}\r{"a": 2}\n{"a": 1}\n', "x.jsonl:1: not JSON"),
    "form feeds": ("x.jsonl", b'\x0c\n{"a": 1}\n', [A]),
    "a line separator in a text": ("x.jsonl", '{"a": "b\u2028c"}\n'.encode(), [{"a": "b\u2028c"}]),
    "a key twice": ("x.jsonl", b'{"a": 1, "a": 2}\n', [B]),
    "an empty key": ("x.jsonl", b'{"": 1}\n', [{"": 1}]),
    "an empty object": ("x.jsonl", b"{}\n", [{}]),
    "mixed types in a column": ("x.jsonl", b'{"a": 1}\n{"a": "1"}\n{"a": [1]}\n', [A, {"a": "1"}, {"a": [1]}]),
    "other columns in each row": ("x.jsonl", b'{"a": 1}\n{"b": {}}\n', [A, {"b": {}}]),
    "nothing": ("x.jsonl", b"", "x.jsonl: the dataset is empty; it needs at least one row"),
    "blank lines": ("x.jsonl", b"\n \n\t\n", "x.jsonl: the dataset is empty"),
    "a page of a hub": ("x.jsonl", b"<!DOCTYPE html>\n<html></html>\n", "x.jsonl:1: not JSON"),
    "a pointer to a large file": ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "x.jsonl:1: not JSON"),
    "a merge conflict": ("x.jsonl", b'{"a": 1}\n<<<<<<< HEAD\n{"a": 2}\n=======\n', "x.jsonl:2: not JSON"),
    "gzip by another name": ("x.jsonl", gzip.compress(b'{"a": 1}'), "x.jsonl:1: not UTF-8: byte 0x8b at column 2"),
    "Parquet by another name": ("x.jsonl", parquet([A]), "x.jsonl:1: not"),
}

JSON: Cases = {
    "cut off in a row": ("x.json", b'[{"a": 1}, {"a": ', "x.json:1: not JSON: unexpected end of data"),
    "cut off behind a row": ("x.json", b'[{"a": 1}', "x.json:1: not JSON: unexpected end of data"),
    "cut off behind a comma": ("x.json", b'[{"a": 1},', "x.json:1: not JSON"),
    "cut off at once": ("x.json", b"[", "x.json:1: not JSON: unexpected end of data"),
    "cut off in a character": ("x.json", b'[{"a": "\xe7\x87', "x.json:1: not JSON"),
    "a fault on a later line": ("x.json", b'[\n{"a": 1},\n{"a" 2}\n]', "x.json:3: not JSON: unexpected character"),
    "a fault's byte": ("x.json", b'[\n{"a": 1},\n{"a" 2}\n]', "(near byte 18 of the file)"),
    "a trailing comma": ("x.json", b'[{"a": 1},]', "x.json:1: not JSON: trailing comma"),
    "a leading comma": ("x.json", b'[,{"a": 1}]', "x.json:1: not JSON"),
    "no comma": ("x.json", b'[{"a": 1} {"a": 2}]', "x.json:1: not JSON"),
    "two commas": ("x.json", b'[{"a": 1},,{"a": 2}]', "x.json:1: not JSON"),
    "two lists": ("x.json", b'[{"a": 1}]\n[{"a": 2}]', "x.json:2: not JSON: unexpected content"),
    "text behind the list": ("x.json", b'[{"a": 1}] done', "x.json:1: not JSON: unexpected content"),
    "closed by a brace": ("x.json", b'[{"a": 1}}', "x.json:1: not JSON"),
    "a comment": ("x.json", b'[\n// one\n{"a": 1}]', "x.json:2: not JSON"),
    "single quotes": ("x.json", b"[{'a': 1}]", "x.json:1: not JSON"),
    "NaN": ("x.json", b'[{"a": NaN}]', "x.json:1: not JSON"),
    "a NUL byte": ("x.json", b'[{"a": "\x00"}]', "x.json:1: not JSON"),
    "a NUL byte at the end": ("x.json", b'[{"a": 1}]\x00', "x.json:1: not JSON"),
    "a lone surrogate": ("x.json", b'[{"a": "\\udfff"}]', "x.json:1: not JSON"),
    "nested too deep": ("x.json", b'[{"a": ' + deep(10_000) + b"}]", "x.json:1: not JSON: depth limit"),
    "brackets alone": ("x.json", deep(10_000), "x.json:1: not JSON: depth limit"),
    "never closed": ("x.json", b"[" * 10_000, "x.json:1: not JSON: depth limit"),
    "null as a row": ("x.json", b"[null]", "x.json:1: a row must be an object {…}, not null"),
    "a number as a row": ("x.json", b'[{"a": 1}, 1.5]', "x.json:2: a row must be an object {…}, not a number"),
    "lists as rows": ("x.json", b'[["q", "r"], ["q", "r"]]', "not a list; 1 more row is malformed"),
    "an object of rows": (
        "x.json",
        b'{"data": [], "version": 1}',
        "x.json: holds an object with the keys data, version",
    ),
    "an object over lines": ("x.json", b'{\n"data": [\n]\n}', "x.json: holds an object with the keys data"),
    "an object cut off": ("x.json", b'{\n"data": [', "x.json:2: not JSON"),
    "an object of columns": ("x.json", b'{"a": [1, 2]}', "a JSON dataset is a list of rows: [{…}, …]"),
    "a text": ("x.json", b'"rows"', "x.json: holds a string; a JSON dataset is a list of rows"),
    "a number": ("x.json", b"12", "x.json: holds a number"),
    "null": ("x.json", b"null", "x.json: holds null"),
    "a word": ("x.json", b"rows", "x.json:1: not JSON"),
    "an empty list": ("x.json", b" [ ]\n", "x.json: the dataset is empty"),
    "nothing": ("x.json", b"", "x.json: the dataset is empty"),
    "white space": ("x.json", b" \n\n\t", "x.json: the dataset is empty"),
    "lines": ("x.json", b'{"a": 1}\n{"a": 2}\n', [A, B]),
    "lines behind blank ones": ("x.json", b'\n\n{"a": 1}\n\n{"a": 2}', [A, B]),
    "lines with a fault": ("x.json", b'\n{"a": 1}\n\n{a}', "x.json:4: not JSON"),
    "lines with a comma": ("x.json", b'{"a": 1},\n{"a": 2}', "x.json:1: not JSON: unexpected content"),
    "objects on one line": ("x.json", b'{"a": 1} {"a": 2}', "x.json:1: not JSON: unexpected content"),
    "Latin-1": ("x.json", b'[{"a": 1},\n{"a": "\xe9"}]', "x.json:2: not UTF-8: byte 0xe9 at byte 19 of the file"),
    "UTF-16": ("x.json", '[{"a": 1}]'.encode("utf-16"), "x.json:1: not UTF-8: byte 0xff at byte 1 of the file"),
    "a byte order mark": ("x.json", b'\xef\xbb\xbf[{"a": 1}]', [A]),
    "a key twice": ("x.json", b'[{"a": 1, "a": 2}]', [B]),
    "brackets in texts": ("x.json", b'[{"a": "},{"}, {"a": "]}],["}]', [{"a": "},{"}, {"a": "]}],["}]),
    "mixed types in a column": ("x.json", b'[{"a": 1}, {"a": null}, {"a": {}}]', [A, {"a": None}, {"a": {}}]),
    "CR alone": ("x.json", b'[\r{"a": 1},\r{"a": 2}\r]\r', [A, B]),
}

CSV: Cases = {
    "a cell too few": ("x.csv", b'a,b\n"1\n",2\n3\n', "x.csv:4: 1 cells where the header has 2"),
    "a cell too many": ("x.csv", b"a,b\n1,2,3\n", "x.csv:2: 3 cells where the header has 2"),
    "ragged rows counted": ("x.csv", b"a,b\n1\n1,2\n3\n", "x.csv:2: 1 cells where the header has 2; 1 more row"),
    "a quote left open": ("x.csv", b'a,b\n1,2\n"3,4\n', "x.csv:3: not CSV: unexpected end of data"),
    "a quote left open in the header": ("x.csv", b'a,"b\n1,2\n', "x.csv:1: not CSV"),
    "text behind a quote": ("x.csv", b'a,b\n"1"x,2\n', "x.csv:2: not CSV"),
    "a quote in a cell": ("x.csv", b'a,b\n1"x,2\n', [{"a": '1"x', "b": "2"}]),
    "columns alike": ("x.csv", b"a,a\n1,2\n", "x.csv:1: two columns have the same name: a, a"),
    "columns without a name": ("x.csv", b"a,,\n1,2,3\n", "x.csv:1: two columns have the same name"),
    "a column without a name": ("x.csv", b",a\n0,1\n", [{"": "0", "a": "1"}]),
    "a header alone": ("x.csv", b"a,b\n", "x.csv: the dataset is empty"),
    "nothing": ("x.csv", b"", "x.csv: the dataset is empty"),
    "blank lines": ("x.csv", b"\n\n\n", "x.csv: the dataset is empty"),
    "blank lines before the header": ("x.csv", b"\n\na\n1\n", [{"a": "1"}]),
    "blank lines between": ("x.csv", b"a\n\n1\n\n", [{"a": "1"}]),
    "empty cells": ("x.csv", b'a,b\n,""\n', [{"a": "", "b": ""}]),
    "a NUL byte": ("x.csv", b"a\n\x00\n", [{"a": "\0"}]),
    "Latin-1": ("x.csv", b"a,b\n1,2\n\xe9,x\n", "x.csv:3: not UTF-8: byte 0xe9 at column 1"),
    "UTF-16": ("x.csv", "a,b\n1,2\n".encode("utf-16"), "x.csv:1: not UTF-8: byte 0xff at column 1"),
    "a byte order mark": ("x.csv", b"\xef\xbb\xbfa\n1\n", [{"a": "1"}]),
    "lines that end in CR": ("x.csv", b"a,b\r1,2\r3,4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    "a CR within a line": ("x.csv", b"a\n1\r2\n", "x.csv:2: not CSV"),
    "semicolons": ("x.csv", b"a;b\n1;2\n", [{"a;b": "1;2"}]),
    "tabs": ("x.tsv", b"a\tb\n1\t2,3\n", [{"a": "1", "b": "2,3"}]),
    "commas for tabs": ("x.tsv", b"a,b\n1\t2\n", "x.tsv:2: 2 cells where the header has 1"),
    "a formula": ("x.csv", b"a\n=1+1\n", [{"a": "=1+1"}]),
    "a spreadsheet by another name": ("x.csv", zipped(a=b"<xml/>" * 99), "x.csv:"),
}

TEXT: Cases = {
    "nothing": ("x.txt", b"", "x.txt: the dataset is empty"),
    "Latin-1": ("x.txt", b"one\ntwo \xe9\n", "x.txt:2: not UTF-8: byte 0xe9 at column 5"),
    "NUL bytes": ("x.txt", b"\x00\n\n", [{"text": "\0"}]),
    "CR alone": ("x.txt", b"p\rq", [{"text": "p"}, {"text": "q"}]),
    "UTF-16": ("x.txt", "one\n".encode("utf-16"), "x.txt:1: not UTF-8"),
}


def two_columns_alike() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), sink)
    return sink.getvalue()


def not_text() -> bytes:
    sink = io.BytesIO()
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
    pq.write_table(pa.table({"a": pa.StringArray.from_buffers(1, offsets, data)}), sink)
    return sink.getvalue()


def no_rows() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), sink)
    return sink.getvalue()


def spoilt(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


PARQUET = parquet(ROWS)
TABLES: Cases = {
    "Parquet by name": ("x.parquet", b"PAR1 not really", "x.parquet: not a Parquet file that can be read"),
    "an empty Parquet file": ("x.parquet", b"", "x.parquet: not a Parquet file that can be read"),
    "Parquet cut off": ("x.parquet", PARQUET[:-20], "x.parquet: not a Parquet file that can be read"),
    "Parquet without a head": ("x.parquet", PARQUET[100:], "x.parquet: not a Parquet file that can be read"),
    "Parquet with a broken page": ("x.parquet", spoilt(PARQUET, 4, b"\xff" * 30), "x.parquet: not a Parquet file"),
    "Parquet with a broken footer": (
        "x.parquet",
        spoilt(PARQUET, len(PARQUET) - 300, b"\xff" * 90),
        "x.parquet: not a",
    ),
    "Parquet with a footer too long": (
        "x.parquet",
        spoilt(PARQUET, len(PARQUET) - 8, b"\xff\xff\xff\x7f"),
        "x.parquet: ",
    ),
    "Parquet with columns alike": ("x.parquet", two_columns_alike(), "x.parquet:1: two columns have the same name"),
    "Parquet with bytes for text": ("x.parquet", not_text(), "x.parquet: not a Parquet file that can be read"),
    "Parquet without rows": ("x.parquet", no_rows(), "x.parquet: the dataset is empty"),
    "JSON Lines in Parquet's name": ("x.parquet", b'{"a": 1}\n', "x.parquet: not a Parquet file"),
    "Arrow by name": ("x.arrow", b"ARROW1 not really", "x.arrow: not an Arrow file that can be read"),
    "an empty Arrow file": ("x.arrow", b"", "x.arrow: not an Arrow file that can be read"),
    "Arrow cut off": ("x.arrow", ipc(ROWS)[:-30], "x.arrow: not an Arrow file that can be read"),
    "an Arrow stream cut off": ("x.arrow", ipc(ROWS, pa.ipc.new_stream)[:-100], "x.arrow: not an Arrow file"),
    "Arrow with a broken batch": ("x.arrow", spoilt(ipc(ROWS), 300, b"\xff" * 60), "x.arrow: not an Arrow file"),
    "Parquet by Arrow's name": ("x.arrow", PARQUET, "x.arrow: not an Arrow file that can be read"),
}


def wrong_sum() -> bytes:
    content = zipped(**{"a.jsonl": LINES})
    (member,) = zipfile.ZipFile(io.BytesIO(content)).infolist()
    return content.replace(member.CRC.to_bytes(4, "little"), bytes(4))


def locked() -> bytes:
    content = bytearray(zipped(**{"a.jsonl": LINES}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def unknown_method() -> bytes:
    content = bytearray(zipped(**{"a.jsonl": LINES}))
    content[8] = content[content.index(b"PK\1\2") + 10] = 77
    return bytes(content)


def linked() -> bytes:
    sink = io.BytesIO()
    member = zipfile.ZipInfo("a.jsonl")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(member, "/etc/passwd")
    return sink.getvalue()


LINES = b'{"a": 1}\n{"a": 2}\n'
ZIPPED, ZSTD = gzip.compress(LINES), pa.compress(LINES, "zstd", asbytes=True)
MANY = gzip.compress(os.urandom(400) + LINES)
ARCHIVES: Cases = {
    "gzip cut off": ("x.jsonl.gz", ZIPPED[:-10], "x.jsonl.gz: cannot be expanded"),
    "gzip cut off, what to do": ("x.jsonl.gz", ZIPPED[:-10], "it is damaged or cut short; fetch or make it again"),
    "gzip with a wrong checksum": ("x.jsonl.gz", spoilt(ZIPPED, len(ZIPPED) - 8, b"\0\0\0\0"), "x.jsonl.gz: cannot be"),
    "gzip with a broken block": ("x.jsonl.gz", spoilt(ZIPPED, 10, b"\xff\xff\xff"), "x.jsonl.gz: cannot be expanded"),
    "gzip by name": ("x.jsonl.gz", LINES, "x.jsonl.gz: cannot be expanded"),
    "an empty gzip file": ("x.jsonl.gz", b"", "x.jsonl.gz: "),
    "gzip of nothing": ("x.jsonl.gz", gzip.compress(b""), "x.jsonl.gz: the dataset is empty"),
    "gzip twice": ("x.jsonl.gz", gzip.compress(ZIPPED), "x.jsonl.gz:1: not UTF-8"),
    "gzip of a malformed file": ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n{a}\n'), "x.jsonl.gz:2: not JSON"),
    "gzip of noise": ("x.jsonl.gz", MANY, "x.jsonl.gz:1: not UTF-8"),
    "gzip with rubbish behind": ("x.jsonl.gz", ZIPPED + b"rubbish", "x.jsonl.gz: cannot be expanded"),
    "zstd cut off": ("x.jsonl.zst", ZSTD[:-4], "x.jsonl.zst: cannot be expanded"),
    "zstd by name": ("x.jsonl.zst", LINES, "x.jsonl.zst: cannot be expanded"),
    "zstd by gzip's name": ("x.jsonl.gz", ZSTD, "x.jsonl.gz: cannot be expanded"),
    "gzip by zstd's name": ("x.jsonl.zst", ZIPPED, "x.jsonl.zst: cannot be expanded"),
    "a compressed Parquet file cut off": ("x.parquet.gz", gzip.compress(PARQUET[:-9]), "x.parquet.gz: not a Parquet"),
    "zip by name": ("x.zip", b"PK\x03\x04 not really", "x.zip: not a zip archive that can be read"),
    "an empty zip file": ("x.zip", b"", "x.zip: not a zip archive that can be read"),
    "zip cut off": ("x.zip", zipped(**{"a.jsonl": LINES})[:-30], "x.zip: not a zip archive that can be read"),
    "zip of nothing": ("x.zip", zipped(), "x.zip: holds no file of rows (.jsonl, "),
    "zip of other files": ("x.zip", zipped(**{"a.md": b"#", "b.exe": b"MZ"}), "x.zip: holds no file of rows"),
    "zip of a zip": ("x.zip", zipped(**{"a.zip": zipped(**{"a.jsonl": LINES})}), "x.zip: holds no file of rows"),
    "zip of a malformed file": ("x.zip", zipped(**{"d/a.jsonl": b"{a}\n"}), "x.zip/d/a.jsonl:1: not JSON"),
    "zip of two files": ("x.zip", zipped(**{"d/a.jsonl": b'{"a": 1}', "b.json": b'[{"a": 2}]'}), [A, B]),
    "zip with a wrong checksum": ("x.zip", wrong_sum(), "x.zip: not a zip archive that can be read: Bad CRC-32"),
    "zip with a password": ("x.zip", locked(), "x.zip: is locked with a password; unpack it"),
    "zip with an unknown method": ("x.zip", unknown_method(), "x.zip: not a zip archive that can be read"),
    "zip with a link": ("x.zip", linked(), "x.zip: its member 'a.jsonl' leads out of the archive"),
    "zip that climbs": ("x.zip", zipped(**{"../../a.jsonl": LINES}), "x.zip: its member '../../a.jsonl' leads out"),
    "zip that climbs later": ("x.zip", zipped(**{"a.jsonl": LINES, "b/../../c.md": b""}), "'b/../../c.md' leads out"),
    "zip that climbs backwards": ("x.zip", zipped(**{"..\\a.jsonl": LINES}), "leads out of the archive"),
    "zip from the root": ("x.zip", zipped(**{"/etc/a.jsonl": LINES}), "'/etc/a.jsonl' leads out of the archive"),
}  # fmt: skip

KINDS = {"jsonl": JSONL, "json": JSON, "csv": CSV, "text": TEXT, "tables": TABLES, "archives": ARCHIVES}
ALL = {f"{kind}: {case}": given for kind, cases in KINDS.items() for case, given in cases.items()}


@pytest.mark.parametrize(("name", "content", "expected"), ALL.values(), ids=ALL)
def test_a_malformed_file_is_read_rightly_or_refused_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, expected: str | list[Any]
):
    (tmp_path / name).write_bytes(content)
    check(tmp_path, name, expected)


def test_there_are_enough_of_them():
    assert len(ALL) >= 150


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches quickly."""
    monkeypatch.setattr(_files, "ROW_MAX_BYTES", 1 << 16)
    monkeypatch.setattr(_files, "EXPANDED_MAX_BYTES", 1 << 20)


LONG = b'{"a": "' + b"x" * (1 << 17) + b'"}'
TOO_MUCH: Cases = {
    "a long line": ("x.jsonl", b'{"a": 1}\n' + LONG, "x.jsonl:2: the line is longer than 65,536 bytes, the most"),
    "a long line behind a fault": ("x.jsonl", b"{a}\n" + LONG, "x.jsonl:1: not JSON"),
    "a long row": ("x.json", b'[{"a": 1}, ' + LONG * 20 + b"]", "x.json:"),
    "a long row over lines": (
        "x.json",
        b'[{"a": 1}, {"a": [' + b"1,\n" * 900_000 + b"1]}]",
        "x.json:2: the row is longer",
    ),
    "a long object": ("x.json", b'{"a":\n' + b"1" * (1 << 17), "x.json:"),
    "a long text": ("x.txt", b"x" * (1 << 17), "x.txt:1: the line is longer than 65,536 bytes"),
    "a long cell": ("x.csv", b'a\n"' + b"x\n" * (1 << 16), "x.csv:2: not CSV: field larger than field limit (65536)"),
    "a gzip bomb": ("x.jsonl.gz", gzip.compress(b"\n" * (8 << 20)), "x.jsonl.gz: expands to more than "),
    "a gzip bomb on one line": ("x.jsonl.gz", gzip.compress(bytes(8 << 20)), "x.jsonl.gz:1: the line is longer"),
    "a zstd bomb": ("x.csv.zst", pa.compress(b"\n" * (8 << 20), "zstd", asbytes=True), "x.csv.zst: expands to more"),
    "a Parquet file in a bomb": ("x.parquet.gz", gzip.compress(PARQUET + bytes(8 << 20)), "x.parquet.gz: expands to"),
    "a zip bomb": ("x.zip", zipped(**{"a.jsonl": b"\n" * (8 << 20)}), "x.zip: expands to more than "),
    "a zip bomb in parts": ("x.zip", zipped(**{f"{i}.csv": b"\n" * (1 << 19) for i in range(9)}), "x.zip: expands to"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "content", "expected"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_long_or_expands_beyond_measure_is_refused(
    tmp_path: Path, name: str, content: bytes, expected: str
):
    (tmp_path / name).write_bytes(content)
    check(tmp_path, name, expected)


def test_well_compressed_rows_are_no_bomb(tmp_path: Path):
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(LINES * 50_000))
    assert len(fetched(tmp_path, "x.jsonl.gz")) == 100_000


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.txt"])
def test_a_gigabyte_on_one_line_is_refused_in_little_memory(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_files, "ROW_MAX_BYTES", 4 << 20)
    with (tmp_path / name).open("wb") as file:
        file.write(b'[{"a": "')
        file.truncate(1 << 30)  # a hole: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(DataGateError, match=f"{name}:1: "):
        list(readers.read(tmp_path / name, name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 << 20  # of which most is the parser's, and never touched


def link_file(folder: Path) -> None:
    (folder / "data/b.jsonl").symlink_to(folder / "secret.jsonl")


def link_folder(folder: Path) -> None:
    (folder / "data/more").symlink_to(folder / "elsewhere", target_is_directory=True)


def link_nowhere(folder: Path) -> None:
    (folder / "data/b.jsonl").symlink_to("/nowhere/at/all.jsonl")


def link_relative(folder: Path) -> None:
    (folder / "data/b.jsonl").symlink_to("../secret.jsonl")


@pytest.mark.parametrize("link", [link_file, link_folder, link_nowhere, link_relative])
def test_links_out_of_a_folder_are_refused_by_name(tmp_path: Path, link):
    for name in ("data", "elsewhere"):
        (tmp_path / name).mkdir()
    for name in ("secret.jsonl", "data/a.jsonl", "elsewhere/a.jsonl"):
        (tmp_path / name).write_bytes(LINES)
    link(tmp_path)
    name = "more" if link is link_folder else "b.jsonl"
    told = f"dataset 'data': {name} is a link that leads out of the folder; put a copy in its place"
    check(tmp_path, "data", told)
    if link in (link_file, link_relative):
        check(tmp_path, "data/*.jsonl", "b.jsonl is a link that leads out of the folder")


def test_links_within_a_folder_and_a_file_that_is_named_are_followed(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_bytes(LINES)
    (tmp_path / "data/b.jsonl").symlink_to("a.jsonl")
    (tmp_path / "c.jsonl").symlink_to("data/a.jsonl")
    assert fetched(tmp_path, "data") == [A, B, A, B]
    assert len(resolve(["c.jsonl"], tmp_path, False, {}, tmp_path / "memo.json")) == 1


def test_a_fault_in_one_file_of_a_folder_names_the_file(tmp_path: Path):
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/a.jsonl").write_bytes(LINES)
    (tmp_path / "data/deep/b.jsonl").write_bytes(b'{"a": 1}\n{a}\n')
    check(tmp_path, "data", "data/deep/b.jsonl:2: not JSON")


def mutations(content: bytes) -> st.SearchStrategy[bytes]:
    place = st.integers(0, len(content))
    change = st.tuples(place, st.integers(0, 8), st.binary(max_size=4))

    def mutate(changes: list[tuple[int, int, bytes]]) -> bytes:
        changed = content
        for at, drop, put in changes:
            changed = changed[:at] + put + changed[at + drop :]
        return changed

    return st.lists(change, min_size=1, max_size=3).map(mutate)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FILES | COMPRESSED)).flatmap(
        lambda n: st.tuples(st.just(n), mutations((FILES | COMPRESSED)[n]))
    )
)
def test_a_damaged_file_gives_rows_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, case: tuple[str, bytes]):
    name, content = case
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        rows = list(readers.read(path, name))
    except MartletError as error:
        assert str(error).startswith(name) and "\n" not in str(error)
        return
    numbers = [number for number, _, _ in rows]
    assert numbers == sorted(set(numbers))
    for _, row, own in rows:
        assert isinstance(row, dict) and (own is None or json.loads(own) == row)


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from([*(f"any{suffix}" for suffix in readers.suffixes()), "any.csv.gz"]),
)
def test_any_bytes_give_rows_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    with contextlib.suppress(DataGateError):
        assert all(isinstance(row, dict) and number > 0 for number, row, _ in readers.read(path, name))


@given(lines=st.lists(st.sampled_from([b'{"a": 1}', b"{a}", b"", b"[]", b" ", b'{"a": "\xc3\xa9"}']), max_size=12))
def test_rows_in_are_rows_out_or_named(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]):
    path = tmp_path_factory.getbasetemp() / "counted.jsonl"
    path.write_bytes(b"\n".join(lines))
    bad = [number for number, line in enumerate(lines, 1) if line in (b"{a}", b"[]")]
    good = [number for number, line in enumerate(lines, 1) if line.strip() and number not in bad]
    found: list[int] = []
    try:
        found.extend(number for number, _, _ in readers.read(path, "counted.jsonl"))
        assert not bad
    except DataGateError as error:
        others = len(bad) - 1
        assert str(error).startswith(f"counted.jsonl:{bad[0]}: ")
        assert ("more row" in str(error)) == bool(others) and (not others or f"; {others} more" in str(error))
    assert found == good
