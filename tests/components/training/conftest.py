"""Tokens to train on."""

from pathlib import Path

import pytest

from tests.components.training.runs import some_rows, write_tokens


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 rows to learn from and 5 to evaluate on."""
    return write_tokens(tmp_path_factory.mktemp("tokens"), some_rows(16), some_rows(5, seed=1))
