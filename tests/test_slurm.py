"""The script for Slurm, with two machines that are both this one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples/cluster/train.sbatch"
SRUN = """#!/bin/bash
trap 'kill -TERM $processes' TERM
for node in 0 1; do SLURM_NODEID=$node "$@" & processes="$processes $!"; done
for process in $processes; do
    wait "$process"; code=$?
    while kill -0 "$process" 2>/dev/null; do wait "$process"; code=$?; done
    [ "$code" = 0 ] || failure=$code
done
exit "${failure:-0}"
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then printf '127.0.0.1\\n127.0.0.2\\n'; else echo "$@" >> scontrol.txt; fi
"""


def placed(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job's script on the first of two machines, both of which are this one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    placed(programs, "srun", SRUN)
    placed(programs, "scontrol", SCONTROL)
    placed(programs, "martlet", f'#!/bin/sh\nexec "{sys.executable}" -m apps.cli.main "$@"\n')
    port = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "host[1-2]"}
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[1])}
    return os.environ | paths | port


@pytest.mark.slow  # two machines that import torch, two times
def test_slurm_starts_both_machines_and_a_preempted_job_goes_on(
    slurm: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    chats = ([{"role": "user", "content": "name?"}, {"role": "assistant", "content": str(n)}] for n in range(64))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"messages": chat}) for chat in chats))
    flags = "--dataset rows.jsonl --nproc_per_node 1 --max_steps 40 --save_steps 5 --report_to none --logging_steps 1"
    command = [str(SCRIPT), "--model", str(tiny_model), *flags.split()]
    job = subprocess.Popen(command, cwd=tmp_path, env=slurm, start_new_session=True)
    output = tmp_path / f"output/slurm-{os.getpid()}"
    while not list(output.glob("v0-*/checkpoint-5/manifest.json")):
        assert job.poll() is None
        time.sleep(0.1)
    os.kill(job.pid, signal.SIGUSR1)
    job.wait()
    assert (tmp_path / "scontrol.txt").read_text() == f"requeue {os.getpid()}\n"
    assert not list(output.glob("v0-*/checkpoint-40"))
    again = subprocess.run(command, cwd=tmp_path, env=slurm, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on from checkpoint-" in again.stdout
    assert len(list(output.glob("v*"))) == 1
    assert list(output.glob("v0-*/checkpoint-40/manifest.json"))
