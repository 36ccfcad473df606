"""Tokens to train on, and a process to train in."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from tests.components.training.runs import learn_and_exit, some_rows, write_tokens


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 rows to learn from and 5 to evaluate on."""
    return write_tokens(tmp_path_factory.mktemp("tokens"), some_rows(16), some_rows(5, seed=1))


@pytest.fixture(scope="session")
def apart(tiny_model: Path, tokens: Path):
    """Run in a process of its own; returns its exit code. The server that it is forked from has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.components.training.runs"])

    def learn(
        folder: Path,
        hazard: tuple[str, int] | None = None,
        workers: int = 0,
        base: Path = tiny_model,
        **params: Any,
    ) -> int | None:
        settings = {"hazard": hazard, "dataloader_num_workers": workers, **params}
        folder.mkdir(exist_ok=True)
        process = context.Process(target=learn_and_exit, args=(folder, base, tokens, folder), kwargs=settings)
        process.start()
        process.join(120)
        return process.exitcode

    return learn
