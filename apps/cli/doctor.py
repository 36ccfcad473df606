"""Check this machine: Python, packages, accelerators, ports, disk, workspace, servers."""

import argparse
import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from components import environments
from components.hardware import describe

PARAMETERS = ()
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "evalscope",
    "great-expectations",
    "dvc",
    "prefect",
    "mlflow",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--short", action="store_true", help="print only what is missing or wrong")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> int:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    wrong = False
    for good, subject, text in _findings():
        wrong |= good is False
        if good is not True or not arguments.short:
            mark = {True: "[green]ok[/]", False: "[red]!![/]", None: "[yellow]--[/]"}[good]
            console.print(f" {mark}  {subject:<16} {text}")
    return int(wrong)


def _findings() -> list[tuple[bool | None, str, str]]:
    """Return a verdict (True: fine, None: may matter, False: must be mended), a subject and a text for each check."""
    machine = describe(Path.cwd())
    gpus = machine.accelerators
    findings: list[tuple[bool | None, str, str]] = [
        ((3, 11) <= sys.version_info[:2] <= (3, 13), "Python", f"{platform.python_version()} at {sys.executable}"),
        (True, "machine", f"{machine.cores} cores, {machine.memory / 2**30:.0f} GiB memory, {platform.platform()}"),
        (True if gpus else None, "accelerator", "; ".join(gpus) or "none: training runs on the CPU"),
        (machine.free_disk > 2 * 2**30, "disk", f"{machine.free_disk / 2**30:.0f} GiB free in {Path.cwd()}"),
    ]
    for package in PACKAGES:
        try:
            findings.append((True, package, version(package)))
        except PackageNotFoundError:
            findings.append((False, package, "not installed: run `make setup`"))
    findings.append(
        (shutil.which("git") is not None, "git", shutil.which("git") or "not found: runs in worktrees need git")
    )
    workspace = Path("dvc.yaml").is_file() and Path("params.yaml").is_file()
    findings.append(
        (
            True if workspace else None,
            "workspace",
            str(Path.cwd()) if workspace else "none here: no dvc.yaml and params.yaml in this folder",
        )
    )
    findings.append(_environments())
    for name, port in (("Prefect", int(os.environ.get("PREFECT_SERVER_API_PORT", "4200"))), ("deploy", 8000)):
        findings.append(_port(name, port))
    return findings


def _environments() -> tuple[bool | None, str, str]:
    states = {name: environments.state(name) for name in environments.ENVIRONMENTS}
    present = [f"{name} ({state})" for name, state in states.items() if state is not environments.State.ABSENT]
    text = ", ".join(present) or "none installed: the built-in engine serves; `martlet env` lists them"
    return (set(states.values()) <= {environments.State.ABSENT, environments.State.READY}) or None, "environments", text


def _port(name: str, port: int) -> tuple[bool | None, str, str]:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        busy = probe.connect_ex(("127.0.0.1", port)) == 0
    if name == "Prefect":
        return (
            True,
            "port",
            f"{port} " + ("answers: a Prefect server should be there" if busy else "is free for Prefect"),
        )
    return (
        (None, "port", f"{port} is taken: choose another with `martlet deploy --port N`")
        if busy
        else (True, "port", f"{port} is free")
    )
