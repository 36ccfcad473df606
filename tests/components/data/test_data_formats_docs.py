"""The document on formats does not lie: each of its examples is read, and becomes what stands beside it."""

import json
import re
from pathlib import Path

import pytest

from components.data.formats import formats, to_row

DOCUMENT = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| `(\{.+?\})` \| `(\{.+?\})` \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(("raw", "row"), EXAMPLES, ids=[raw[:60] for raw, _ in EXAMPLES])
def test_an_example_becomes_what_it_says(raw: str, row: str):
    assert to_row(json.loads(raw)) == json.loads(row)


def test_every_row_of_the_tables_is_an_example():
    assert len(EXAMPLES) == sum(line.startswith("| `{") for line in DOCUMENT.splitlines()) > 30


@pytest.mark.parametrize("name", formats())
def test_every_format_has_an_example(name: str):
    found = [group for raw, _ in EXAMPLES for group in formats()[name].readings(frozenset(json.loads(raw)))]
    assert found
