"""uv, which installs packages: the program, and where it looks for them."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from components.environments.catalogue import has_gpu
from components.errors import ConfigError, MartletError


def run(*words: object, **variables: str) -> None:
    """Run `uv WORDS`; what it says goes to the screen. `variables` are added to its environment.

    Raises:
        ConfigError: there is no uv.
        MartletError: uv failed, and has said why.
    """
    environment = {**os.environ, **_find_links(), **variables}
    if code := subprocess.run([_program(), *map(str, words)], env=environment, check=False).returncode:
        raise MartletError(f"`uv {words[0]}` ended with code {code}; the reason stands above")


def install_cpu_torch(python: Path, constraints: Path) -> None:
    """Install the CPU build of torch, a tenth of the ordinary size, where there is no GPU and its index answers."""
    if has_gpu() or "UV_FIND_LINKS" in (os.environ.keys() | _find_links().keys()):
        return
    command = ["pip", "install", "--python", python, "--torch-backend", "cpu", "torch", "--constraints", constraints]
    try:
        run(*command, UV_HTTP_TIMEOUT="15", UV_HTTP_RETRIES="0")
    except MartletError:
        print("the CPU build of torch cannot be reached; the ordinary build takes more room", file=sys.stderr)


def _program() -> str:
    """Return the path of uv: in PATH, or beside this Python.

    Raises:
        ConfigError: it is in neither.
    """
    beside = Path(sys.executable).with_name("uv")
    if program := shutil.which("uv") or (beside.is_file() and str(beside)):
        return program
    raise ConfigError("uv, which makes environments, is not there; install it with `pip install uv`")


@cache
def _find_links() -> dict[str, str]:
    """Return the folder of packages in pip's settings as a variable for uv, which does not read them, or nothing."""
    if "UV_FIND_LINKS" in os.environ:
        return {}
    for key in ("global.find-links", ":env:.find-links"):
        query = [sys.executable, "-m", "pip", "config", "get", key]
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return {"UV_FIND_LINKS": answer.stdout.strip()}
    return {}
