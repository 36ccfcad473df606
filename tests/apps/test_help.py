"""The help of every command: it fits a terminal, says which values there are, and shows examples that are run.

The examples themselves run in `tests/pipeline/`: in `test_examples.py`, or, where they need a run, in `test_demo.py`.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from apps.cli.main import COMMANDS, NAMES
from tests.commands import martlet


def examples(command: str) -> Iterator[str]:
    """The commands in the help of `command`, without what explains them."""
    doc = re.sub(r"\\\n\s*", "", import_module(f"apps.cli.{command.replace('-', '_')}").__doc__ or "")
    for line in re.findall(r"^ *(martlet .*)$", doc, re.MULTILINE):
        yield re.split(r"\s{2,}", line)[0]


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("empty")
    shown = {name: martlet(folder, name, "--help", COLUMNS="80") for name in NAMES}
    return shown | {"": martlet(folder, COLUMNS="80")}


def test_every_line_fits_80_columns(helps: dict[str, str]) -> None:
    assert [(name, line) for name, text in helps.items() for line in text.splitlines() if len(line) > 80] == []


def test_paragraphs_begin_at_the_margin(helps: dict[str, str]) -> None:
    text = helps["sft"].partition("\nvalidation:\n")[2].partition("\n\n")[0]
    assert len(text.splitlines()) > 1
    assert all(re.match(r"  \S", line) for line in text.splitlines())


def test_flags_show_their_values_and_names_whole(helps: dict[str, str]) -> None:
    for expected in (
        "--truncation_strategy delete|left|right|split",
        "--quant_bits 1|2|3|4|8",
        "--on_empty ignore|warn|drop|block",
        "--tuner_type, --train_type, --finetuning_type X",
        "[all-linear]",
    ):
        assert expected in helps["sft"]


def test_every_command_is_listed_and_has_an_example(helps: dict[str, str]) -> None:
    for name in NAMES:
        assert f"\n  {name} " in helps[""]
        assert name in ("doctor", "serve-flows") or list(examples(name)), name


def test_help_is_found_however_it_is_asked_for(helps: dict[str, str], tmp_path: Path) -> None:
    assert martlet(tmp_path, "--help", COLUMNS="80") == martlet(tmp_path, "help", COLUMNS="80") == helps[""]
    assert martlet(tmp_path, "help", "sft", COLUMNS="80") == helps["sft"]
    assert martlet(tmp_path, "serve_flows", "--help", COLUMNS="80") == helps["serve-flows"]
    assert "(did you mean 'export'?)" in martlet(tmp_path, "exprot", code=2)
    assert len(COMMANDS) > 2
