from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.rows import from_arrow, read_batches, rows_writer, to_arrow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CALL = st.builds(
    lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
    TEXT,
    st.dictionaries(TEXT, st.integers(-9, 9) | TEXT | st.none(), max_size=2),
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT},
    optional={
        "reasoning_content": TEXT,
        "tool_calls": st.lists(CALL, min_size=1, max_size=2),
        "name": TEXT,
        "tool_call_id": TEXT,
        "loss_scale": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    },
)
MESSAGES = st.lists(MESSAGE, max_size=3)
ROW = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("messages", "prompt", "chosen", "rejected", "completion"), MESSAGES),
        "text": TEXT,
        "channel": TEXT,
        "label": st.booleans(),
        "tools": st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2),
        "images": st.lists(TEXT, max_size=2),
        "extra": st.dictionaries(TEXT, st.lists(st.booleans(), max_size=2), max_size=2),
    },
)


@given(st.lists(ROW, max_size=6))
def test_rows_come_back_as_they_were(rows: list[dict]) -> None:
    batch = to_arrow(rows, ["x"] * len(rows), range(len(rows)))
    assert from_arrow(batch) == rows
    for cut in range(len(rows)):
        assert from_arrow(batch.slice(cut)) == rows[cut:]


def test_rows_lie_in_parquet_and_are_read_in_batches(tmp_path: Path) -> None:
    rows = [{"text": f"row {n}"} for n in range(10)]
    with rows_writer(tmp_path / "rows.parquet") as writer:
        writer.write_batch(to_arrow(rows[:6], ["a"] * 6, range(1, 7)))
        writer.write_batch(to_arrow(rows[6:], ["b"] * 4, range(1, 5)))
    batches = list(read_batches(tmp_path / "rows.parquet", ["text", "row"], batch_size=4))
    assert [row for batch in batches for row in from_arrow(batch)] == rows
    assert max(batch.num_rows for batch in batches) == 4
    assert [n for batch in batches for n in batch.column("row").to_pylist()] == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4]


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        to_arrow([{"text": "\ud800"}], ["x"], [1])
