"""Side environments are made with uv, repaired, checked by one real call, and only then sealed with a manifest."""

import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.environments import uv
from components.environments.calls import call_with
from components.environments.catalogue import ENVIRONMENTS, REQUIREMENTS, has_gpu, is_installed, known, python_of, root
from components.errors import ConfigError, MartletError
from components.files import MANIFEST, read_json, remove, sha256, write_json, write_text

CHECKS = Path(__file__).with_name("checks")


class State(StrEnum):
    """State of an environment, in the words that users see."""

    ABSENT = "not installed"
    INCOMPLETE = "incomplete: its installation was interrupted"
    OUTDATED = "from older pins: install it again"
    READY = "installed"


def install(name: str) -> dict[str, Any]:
    """Make an environment and return what its check found, such as versions and figures.

    One that is complete, from the same pins and passes its check is kept; any other is replaced.

    Raises:
        ConfigError: there is no such environment, no uv, no GPU for it, or another process installs it.
        MartletError: a package cannot be installed, or the environment does not pass its check; nothing is left.
    """
    if known(name).needs_gpu and not has_gpu():
        raise ConfigError(
            f"the environment '{name}' ({known(name).purpose}) needs a GPU: there is no nvidia-smi in PATH"
        )
    with _lock(name):
        folder = root() / name
        if state(name) is State.READY:
            with suppress(MartletError):
                return check(name)
        remove(folder)
        try:
            _build(name)
            findings = check(name)
            write_json(folder / MANIFEST, {"name": name, "requirements": sha256(requirements(name)), **findings})
        except BaseException:
            remove(folder)
            raise
    return findings


def uninstall(name: str) -> bool:
    """Remove an environment, complete or not, and return whether there was one.

    Raises:
        ConfigError: there is no environment of this name, or another process installs it.
    """
    known(name)
    with _lock(name):
        folder = root() / name
        is_there = folder.exists()
        (folder / MANIFEST).unlink(missing_ok=True)  # first: what is half removed counts as absent
        remove(folder)
    return is_there


def check(name: str) -> dict[str, Any]:
    """Return what the check of an environment found: its packages import, and one real call gives the right result.

    Raises:
        MartletError: the check failed; the message says why.
    """
    script = CHECKS / f"{known(name).check}.py"
    return call_with(python_of(name), name, script, {"name": name}, HF_HUB_OFFLINE="1")


def requirements(name: str) -> Path:
    """Return the file with the pins of an environment."""
    return REQUIREMENTS / f"{name}.txt"


def state(name: str) -> State:
    """Return whether an environment is there, complete, and from the pins that its file has now."""
    folder = root() / name
    if not is_installed(name):
        return State.INCOMPLETE if folder.exists() else State.ABSENT
    is_current = read_json(folder / MANIFEST)["requirements"] == sha256(requirements(name))
    return State.READY if is_current else State.OUTDATED


def _build(name: str) -> None:
    """Make a virtual environment with the pinned packages, in its place: virtual environments cannot be moved."""
    environment, python, pins = ENVIRONMENTS[name], python_of(name), requirements(name)
    uv.run("venv", "--quiet", "--python", sys.executable, root() / name)
    uv.install_cpu_torch(python, pins)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as overrides:
        # A requirement that holds on no Python takes the place of every other of the same package.
        overrides.writelines(f"{package}; python_version < '3'\n" for package in environment.excluded)
        overrides.flush()
        exclusion = ("--overrides", overrides.name) if environment.excluded else ()
        uv.run("pip", "install", "--python", python, "--requirements", pins, *exclusion)
    if environment.alias:
        _write_metadata(python, *environment.alias)


def _write_metadata(python: Path, package: str, version: str) -> None:
    """Write the metadata of a package that is not there, for programs that ask for its version."""
    query = [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    write_text(site / f"{package.replace('-', '_')}-{version}.dist-info/METADATA", metadata)


@contextmanager
def _lock(name: str) -> Generator[None]:
    """Hold the right to change an environment.

    Raises:
        ConfigError: another process holds it.
    """
    root().mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root() / f".{name}.lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"another process installs or removes the environment '{name}'; wait for its end") from None
