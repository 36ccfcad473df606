"""A fresh copy of the repository, the demo that runs in it, and a way to type commands there."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.files import is_complete, read_json
from tests.commands import Command

ROOT = Path(__file__).parents[2]


@dataclass
class Workspace:
    """A checkout of this repository of its own, with its own Prefect server."""

    root: Path
    env: dict[str, str]

    def run(self, command: str, timeout: int = 540, **env: str) -> subprocess.CompletedProcess[str]:
        """Type a command, as a shell in the activated environment would."""
        return subprocess.run(
            command, shell=True, cwd=self.root, env=self.env | env, capture_output=True, text=True, timeout=timeout
        )

    def read(self, name: str) -> dict:
        return read_json(self.root / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def checkout(folder: Path) -> None:
    """Copy what git would commit of the working tree, as the first commit of a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base, built once for all workers, or that of this checkout."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (folder / "base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(ROOT / "models/base") and not (folder / "models").exists():
            shutil.copytree(ROOT / "models/base", folder / "models/base")
        built = Command(folder, "demo", "--base_only").wait(1500)
        assert built.returncode == 0, built.stderr
    return folder / "models/base"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Workspace]:
    """One for a file of tests, at whose end its Prefect server ends."""
    home = tmp_path_factory.mktemp("pipeline")
    root = home / "martlet"
    root.mkdir()
    checkout(root)
    shutil.copytree(base, root / "models/base")
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parent / 'watch'}",
        "MARTLET_TEST_CONNECTIONS": str(home / "connections.txt"),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_API_PORT": str(free_port()),
        "COLUMNS": "160",
    }
    yield Workspace(root, env)
    for file in home.glob("prefect/*.pid"):
        os.kill(int(file.read_text().split()[0]), signal.SIGTERM)


@pytest.fixture(scope="module")
def demo(workspace: Workspace) -> subprocess.CompletedProcess[str]:
    """`martlet demo`, once."""
    return workspace.run("martlet demo", timeout=1500)
