"""Rows that pass by: their order, and that a stream goes on from any position as if it had never stopped."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.groups.data import Data
from components.config.groups.validation import Validation
from components.data import GateCounts, RawRow, RowStream, StreamingGate, StreamPosition, resolve
from components.data import stream as streaming
from components.data.collect import collect_rows
from components.errors import ConfigError, DataGateError
from tests.components.hub.hub_server import COMMIT, State, serve
from tests.components.hub.test_hub_datasets import HOMES, HUBS, QUICK

Chunk = tuple[StreamPosition, list[RawRow], bool]


def write(folder: Path, name: str, size: int) -> str:
    text = "".join(json.dumps({"text": f"{name} {i}"}) + "\n" for i in range(1, size + 1)).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return name


def stream(folder: Path, *specs: str, **data: Any) -> RowStream:
    return RowStream(resolve(specs, folder, False, {}, None), Data(**data), folder)


def some(made: RowStream, rows: int, start: StreamPosition | None = None) -> list[Chunk]:
    """The chunks up to that with the row of this number."""
    found: list[Chunk] = []
    for chunk in made.chunks(start):
        found.append(chunk)
        rows -= len(chunk[1])
        if rows <= 0:
            return found
    raise AssertionError


def places(chunks: list[Chunk]) -> list[tuple[str, int]]:
    return [(item.source, item.number) for _, items, _ in chunks for item in items]


def test_rows_come_in_order_file_by_file_and_then_again(tmp_path: Path):
    specs = [write(tmp_path, "a.jsonl", 5), write(tmp_path, "b.jsonl.gz", 3)]
    chunks = some(stream(tmp_path, *specs, dataset_shuffle=False), 16)
    one_pass = [("a.jsonl", n) for n in range(1, 6)] + [("b.jsonl.gz", n) for n in range(1, 4)]
    assert places(chunks) == one_pass * 2
    assert [(position.epoch, ends) for position, _, ends in chunks] == [(0, True), (1, True)]
    assert json.loads(chunks[0][1][5].raw) == {"text": "b.jsonl.gz 1"}


def test_rows_of_several_files_are_named_by_file_as_fetch_names_them(tmp_path: Path):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d", "a.jsonl", 3), write(tmp_path / "d", "b.jsonl", 2)
    kept = collect_rows(resolve(["d"], tmp_path, False, {}, None), [], Data(dataset_shuffle=False), tmp_path)
    passing = some(stream(tmp_path, "d", dataset_shuffle=False), 5)
    assert places(passing) == [(source, row) for source, row, _ in kept.tables["train"]]


def test_a_block_is_shuffled_in_itself_and_otherwise_in_every_pass(tmp_path: Path):
    def numbers(rows: int, **data: Any) -> list[int]:
        return [number for _, number in places(some(stream(tmp_path, "a.jsonl", shuffle_buffer_size=20, **data), rows))]

    write(tmp_path, "a.jsonl", 50)
    twice = numbers(100)
    for first, last in ((0, 20), (20, 40), (40, 50)):
        block = twice[first:last]
        assert sorted(block) == list(range(first + 1, last + 1))
        assert block != sorted(block)
        assert block != twice[50 + first : 50 + last]
    assert numbers(50) == twice[:50]
    assert numbers(50, data_seed=1) != twice[:50]


@pytest.mark.parametrize("strategy", ["first_exhausted", "all_exhausted"])
def test_shares_are_drawn_as_for_rows_on_the_disk(tmp_path: Path, strategy: Any):
    specs = [write(tmp_path, "a.jsonl", 40), write(tmp_path, "b.jsonl", 2500), write(tmp_path, "c.jsonl", 30) + "#20"]
    data: dict[str, Any] = {"interleave_prob": [0.02, 0.97, 0.01], "stopping_strategy": strategy}
    sources = resolve(specs, tmp_path, False, {}, None)
    kept = collect_rows(sources, [], Data(dataset_shuffle=False, **data), tmp_path).tables["train"]
    passing = some(stream(tmp_path, *specs, dataset_shuffle=False, **data), len(kept))
    assert places(passing)[: len(kept)] == [(source, row) for source, row, _ in kept]
    assert [ends for _, _, ends in passing] == [False] * (len(passing) - 1) + [True]


def test_more_rows_than_there_are_come_again(tmp_path: Path):
    chunks = some(stream(tmp_path, write(tmp_path, "a.jsonl", 4) + "#6", dataset_shuffle=False), 6)
    assert [number for _, number in places(chunks)] == [1, 2, 3, 4, 1, 2]
    assert chunks[-1][2]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 25), min_size=2, max_size=3),
    wanted=st.none() | st.integers(1, 30),
    shares=st.booleans(),
    strategy=st.sampled_from(["first_exhausted", "all_exhausted"]),
    shuffle=st.booleans(),
    block=st.integers(1, 30),
    chunk=st.integers(1, 12),
    bytes_=st.sampled_from([40, 1 << 20]),
)
def test_from_every_position_the_rest_is_the_same(
    tmp_path_factory, sizes, wanted, shares, strategy, shuffle, block, chunk, bytes_
):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a").mkdir()
    specs = [write(folder, f"a/{i}.jsonl", size) for i, size in enumerate(sizes[:-1])] and ["a"]
    specs += [write(folder, "b.jsonl", sizes[-1]) + (f"#{wanted}" if wanted else "")]
    data = {"interleave_prob": [0.6, 0.4] if shares else [], "stopping_strategy": strategy,
            "dataset_shuffle": shuffle, "shuffle_buffer_size": block}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "CHUNK_ROWS", chunk)
        patch.setattr(streaming, "CHUNK_BYTES", bytes_)
        whole = some(stream(folder, *specs, **data), 3 * sum(sizes))
        for number, (position, _, _) in enumerate(whole):
            written = StreamPosition(*json.loads(json.dumps(list(position))))
            assert list(islice(stream(folder, *specs, **data).chunks(written), len(whole) - number)) == whole[number:]


def test_a_dataset_without_rows_and_a_column_that_is_not_there_are_told(tmp_path: Path):
    (tmp_path / "none.jsonl").write_bytes(b"\n")
    with pytest.raises(DataGateError, match=r"none\.jsonl: the dataset is empty"):
        some(stream(tmp_path, "none.jsonl"), 1)
    with pytest.raises(ConfigError, match="no dataset has a column 'txt'"):
        some(stream(tmp_path, write(tmp_path, "a.jsonl", 3), columns={"txt": "text"}), 1)


# What does not pass


@pytest.fixture
def sieve(tiny_model: Path) -> StreamingGate:
    return StreamingGate(Validation(), tiny_model)


def test_rows_that_cannot_be_learned_from_are_counted_and_the_first_is_named(tmp_path: Path, sieve: StreamingGate):
    lines = ['{"text": "good"}', '{"text": ', '{"foo": 1}', '{"text": " "}', '{"text": "a <|im_end|> b"}', "[]"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    [(_, items, ends)] = some(stream(tmp_path, "a.jsonl", dataset_shuffle=False), 6)
    tally = GateCounts()
    assert [row for _, row in sieve(items, tally)] == [{"text": "good"}]
    assert ends and tally.rows == 6
    assert tally.left_out == Counter(schema=3, empty=1, special=1)
    assert tally.first["schema"].startswith("a.jsonl:2: not JSON")
    assert tally.first["special"] == "a.jsonl:5: holds the special token <|im_end|> as text"
    again = GateCounts()
    again.restore(json.loads(json.dumps(tally.saved())))
    assert again == tally


def test_what_is_in_the_place_of_a_file_that_breaks_off_is_told_and_ends_the_stream(tmp_path: Path):
    for name, text in (("a.json", '[{"text": "x"}, {"text": '), ("a.csv", 'text\nx\n"y')):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataGateError, match=rf"{name}:\d+: not "):
            some(stream(tmp_path, name), 2)


def test_the_gate_closes_on_too_many_when_there_were_enough_to_tell(sieve: StreamingGate):
    def items(good: int, bad: int) -> list[RawRow]:
        return [RawRow("a.jsonl", n, b'{"text": "x"}' if n < good else b'{"foo": 1}') for n in range(good + bad)]

    tally = GateCounts()
    sieve(items(400, 500), tally)
    tally.samples = 1
    tally.check_limits(0.5, ends=False)
    with pytest.raises(DataGateError, match=r"500 of the first 900 rows left out.*500 x schema, first a\.jsonl:400"):
        tally.check_limits(0.5, ends=True)
    sieve(items(100, 0), tally)
    tally.check_limits(0.5, ends=True)
    sieve(items(0, 1), tally)
    with pytest.raises(DataGateError, match="501 of the first 1,001"):
        tally.check_limits(0.5, ends=False)
    nothing = GateCounts()
    sieve(items(0, 3), nothing)
    with pytest.raises(DataGateError, match="none of the 3 rows can be learned from"):
        nothing.check_limits(1.0, ends=True)


def test_a_check_that_blocks_closes_it_at_once_and_one_that_warns_never(tiny_model: Path):
    items = [RawRow("a.jsonl", 1, b'{"text": "write to jane.doe@firma.de"}'), RawRow("a.jsonl", 2, b'{"text": " "}')]
    tally = GateCounts()
    assert len(StreamingGate(Validation(on_empty="ignore"), tiny_model)(items, tally)) == 2
    assert tally.warned == Counter(personal=1)
    with pytest.raises(DataGateError, match=r"empty: a\.jsonl:2: the text is empty"):
        StreamingGate(Validation(on_empty="block"), tiny_model)(items, tally)


# A hub

PASS = """
import json, sys, threading, time
from contextlib import suppress
from pathlib import Path
from components.config.groups.data import Data
from components.data import StreamPosition, RowStream, resolve
folder, at = Path(sys.argv[1]), json.loads(sys.argv[3])
made = RowStream(resolve([sys.argv[2]], folder, False, {}, None), Data(shuffle_buffer_size=10), folder / "shards")
rows, most, positions = [], 0, []

def count():
    global most
    with suppress(OSError):  # a folder went while it was looked through
        most = max(most, len([*(folder / "shards").rglob("*.jsonl")]))

def watch():
    while True:
        count()
        time.sleep(0.0005)

threading.Thread(target=watch, daemon=True).start()
for position, items, ends in made.chunks(StreamPosition(*at) if at else None):
    count()
    positions.append(list(position))
    rows += [[item.number, json.loads(item.raw)["text"]] for item in items]
    if ends:
        break
print(json.dumps([rows, most, positions, made.described]))
"""
SHARDS = {
    f"data/train-{k:05d}-of-00005.jsonl": "".join(json.dumps({"text": f"{k} {n}"}) + "\n" for n in range(8)).encode()
    for k in range(5)
}


def pass_by(hub: str, endpoint: str, tmp: Path, at: Any = None) -> tuple[list[Any], int, list[Any], list[Any]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MODELSCOPE_"))}
    environment |= {variable: str(tmp / "home" / folder) for variable, folder in HOMES.items()}
    environment |= {"HF_ENDPOINT": endpoint, "MODELSCOPE_ENDPOINT": endpoint, "NO_PROXY": "*", **QUICK}
    (tmp / "shards").mkdir(exist_ok=True)
    words = [sys.executable, "-c", PASS, str(tmp), f"{'hf' if hub == 'huggingface' else 'ms'}::owner/name"]
    done = subprocess.run(
        [*words, json.dumps(at)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(state: State) -> list[int]:
    """The shards whose bytes were asked for, in order, each once."""
    found = [re.search(r"train-(\d{5})", line) for line in state.requests if line.startswith("GET")]
    return list(dict.fromkeys(int(match[1]) for match in found if match))


@pytest.mark.parametrize("hub", HUBS)
def test_shards_of_a_hub_pass_by_two_at_a_time_and_none_is_kept(hub: str, tmp_path: Path):
    last = [*SHARDS][-1]
    with serve({**SHARDS, "README.md": b"---\nlicense: mit\n---\n"}) as state:
        state.statuses[last if hub == "huggingface" else last.replace("/", "%2F")] = [(503, {}), (200, {})]
        rows, most, positions, [described] = pass_by(hub, state.endpoint, tmp_path)
        assert sorted(rows) == sorted([n + 1, f"{k} {n}"] for k in range(5) for n in range(8))
        assert 1 <= most <= 2
        assert (described["revision"], described["licence"], described["files"]) == (COMMIT, "mit", 5)
        assert not [path for path in tmp_path.rglob("*.jsonl") if path.is_file()]
        assert asked(state)[:5] == [0, 1, 2, 3, 4]
        state.requests.clear()
        assert pass_by(hub, state.endpoint, tmp_path, positions[3])[0] == rows[30:]
        assert asked(state)[:2] == [3, 4]
