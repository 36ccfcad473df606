"""Files of rows: what is read, and what a person is told about a file that is wrong."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.data.readers import read
from components.errors import DataGateError

ROWS = [{"query": "a", "response": "b"}, {"query": "c\n,\"'", "response": "燕 é"}]


def rows_of(path: Path) -> list:
    return list(read(path, path.name))


def test_jsonl_is_numbered_by_line_and_blank_lines_count(tmp_path: Path):
    file = tmp_path / "x.jsonl"
    file.write_text("\n" + json.dumps(ROWS[0]) + "\r\n\n" + json.dumps(ROWS[1]), "utf-8-sig")
    assert rows_of(file) == [(2, ROWS[0]), (4, ROWS[1])]


def test_json_is_numbered_by_record(tmp_path: Path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps(ROWS, indent=1), "utf-8-sig")
    assert rows_of(file) == [(1, ROWS[0]), (2, ROWS[1])]


def test_json_lines_under_the_name_json(tmp_path: Path):
    file = tmp_path / "x.json"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    assert rows_of(file) == [(1, ROWS[0]), (2, ROWS[1])]


def test_csv_is_numbered_by_line(tmp_path: Path):
    file = tmp_path / "x.csv"
    file.write_text('query,response\na,b\n"c\n,""\'",燕 é\nd,\n', "utf-8-sig", newline="")
    assert rows_of(file) == [(2, ROWS[0]), (3, ROWS[1]), (5, {"query": "d", "response": ""})]


def test_parquet_is_numbered_by_record(tmp_path: Path):
    file = tmp_path / "x.parquet"
    turns = [{"messages": [{"role": "user", "content": "hi"}]}] * 3
    pq.write_table(pa.Table.from_pylist(turns), file, row_group_size=2)
    assert rows_of(file) == [(1, turns[0]), (2, turns[0]), (3, turns[0])]


BAD = {
    "cut off": ("x.jsonl", b'{"a": 1}\n{"a": ', "x.jsonl:2: not JSON"),
    "several": ("x.jsonl", b'{"a": 1}\n{a}\n{}\n{b}\n[]\n', "x.jsonl:2: not JSON: "),
    "several counted": ("x.jsonl", b'{"a": 1}\n{a}\n{}\n{b}\n[]\n', "; 2 more rows are malformed; mend"),
    "one more": ("x.jsonl", b"{a}\n{b}\n", "; 1 more row is malformed"),
    "single quotes": ("x.jsonl", b"{'a': 1}\n", "x.jsonl:1: not JSON"),
    "NaN": ("x.jsonl", b'{"a": NaN}\n', "x.jsonl:1: not JSON"),
    "NUL": ("x.jsonl", b'{"a": "\x00"}\n', "x.jsonl:1: not JSON"),
    "lone surrogate": ("x.jsonl", b'{"a": "\\ud800"}\n', "x.jsonl:1: not JSON"),
    "too deep": ("x.jsonl", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n", "x.jsonl:1: not JSON"),
    "a list as a row": ("x.jsonl", b'{"a": 1}\n["q", "r"]\n', "x.jsonl:2: a row must be an object {…}, not a list"),
    "a text as a row": ("x.jsonl", b'"q"\n', "x.jsonl:1: a row must be an object {…}, not a string"),
    "null as a row": ("x.json", b"[null]", "x.json:1: a row must be an object {…}, not null"),
    "a number as a row": ("x.json", b"[{}, 1.5]", "x.json:2: a row must be an object {…}, not a number"),
    "not UTF-8": ("x.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "x.jsonl:2: not UTF-8: byte 0xff at offset 16"),
    "UTF-16": ("x.jsonl", '{"a": 1}\n'.encode("utf-16"), "x.jsonl:1: not UTF-8: byte 0xff at offset 0"),
    "Latin-1 JSON": ("x.json", b'[{"a": "\xe9"}]', "x.json: not UTF-8: byte 0xe9 at offset 8"),
    "Latin-1 CSV": ("x.csv", b"a,b\n\xe9,x\n", "x.csv: not UTF-8: byte 0xe9 at offset 4"),
    "JSON broken at a line": ("x.json", b'[\n{"a": 1},\n{"a" 2}\n]', "x.json:3: not JSON"),
    "JSON object": ("x.json", b'{"data": [], "version": 1}', "holds an object with the keys data, version"),
    "JSON text": ("x.json", b'"rows"', "x.json: holds a string; a JSON dataset is a list of rows"),
    "CSV cells missing": ("x.csv", b'a,b\n"1\n",2\n3\n', "x.csv:4: 1 cells where the header has 2"),
    "CSV cells too many": ("x.csv", b"a,b\n1,2,3\n", "x.csv:2: 3 cells where the header has 2"),
    "CSV open quote": ("x.csv", b'a,b\n"1,2\n', "x.csv:2: not CSV"),
    "CSV columns alike": ("x.csv", b"a,a\n1,2\n", "x.csv:1: two columns have the same name"),
    "Parquet by name": ("x.parquet", b"PAR1 not really", "x.parquet: not a Parquet file"),
    "Parquet empty": ("x.parquet", b"", "x.parquet: not a Parquet file"),
}


@pytest.mark.parametrize(("name", "content", "told"), BAD.values(), ids=BAD)
def test_a_bad_file_is_explained_in_one_line(tmp_path: Path, name: str, content: bytes, told: str):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataGateError) as error:
        rows_of(file)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@example(content=b'"', suffix=".csv")
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".json", ".jsonl", ".csv", ".parquet"]))
def test_any_bytes_are_rows_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str):
    file = tmp_path_factory.getbasetemp() / f"any{suffix}"
    file.write_bytes(content)
    try:
        assert all(isinstance(row, dict) and number > 0 for number, row in rows_of(file))
    except DataGateError as error:
        assert str(error).startswith(file.name)
