"""The processes that make data ready for `martlet sft`: they end with it, and their end is told in words."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sft(tmp_path: Path, tiny_model: Path) -> Iterator[subprocess.Popen[str]]:
    """`martlet sft` on rows that take a while."""
    with (tmp_path / "rows.jsonl").open("w") as file:
        for n in range(60_000):
            file.write(json.dumps({"query": f"question {n}", "response": f"answer {n} " * 8}) + "\n")
    words = f"sft --model {tiny_model} --dataset rows.jsonl --max_steps 1 --output_dir out --add_version false"
    with subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", *words.split(), "--report_to", "none"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "MARTLET_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def prepared_by(process: subprocess.Popen[str], out: Path) -> list[psutil.Process]:
    """Its children and theirs, once the gate has begun its work."""
    until = time.monotonic() + 60
    while not (out / "data/.gate.tmp").exists() and time.monotonic() < until:
        time.sleep(0.01)
    found = psutil.Process(process.pid).children(recursive=True)
    assert found
    return found


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_the_command_however_it_ends(
    sft: subprocess.Popen[str], tmp_path: Path, how: signal.Signals
) -> None:
    children = prepared_by(sft, tmp_path / "out")
    sft.send_signal(how)
    sft.wait(30)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_the_end_of_one_is_an_error_in_words(sft: subprocess.Popen[str], tmp_path: Path) -> None:
    prepared_by(sft, tmp_path / "out")[0].kill()
    said = sft.communicate(timeout=60)[0]
    assert sft.returncode == 1
    assert "martlet: a process that prepares the data was killed" in said
    assert "Traceback" not in said
