"""List, install, check and remove side environments: engines and quantizers whose requirements conflict with Martlet's.

  martlet env                    what there is, and what is installed
  martlet env install vllm       from the pins in environments/vllm.txt
  martlet env doctor             check all that is installed; or name one
  martlet env remove vllm

They lie in .venvs of this folder, or in $MARTLET_ENVIRONMENTS.
"""

import argparse
from typing import Any

from components import environments
from components.errors import ConfigError, MartletError

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "install", "remove", "doctor"], default="list")
    parser.add_argument("name", nargs="?", help="name of an environment")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> int | None:
    action, name = arguments.action, arguments.name
    if action == "list":
        return _list()
    if action == "doctor":
        return _doctor([name] if name else list(filter(_is_there, environments.ENVIRONMENTS)))
    if not name:
        raise ConfigError(f"martlet env {action} NAME; `martlet env` lists the names")
    environments.known(name)
    if action == "install":
        print(f"installing '{name}' into {environments.root() / name} (minutes, and some GB)", flush=True)
        print(f"ready: {_text(environments.install(name))}")
    else:
        print(f"removed {environments.root() / name}" if environments.uninstall(name) else "it is not installed")
    return None


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    print(f"{environments.root()}:")
    table = Table(box=None)
    for column in ("environment", "state", "purpose"):
        table.add_column(column, overflow="fold")
    for name, environment in environments.ENVIRONMENTS.items():
        table.add_row(name, environments.state(name), environment.purpose)
    Console().print(table)


def _doctor(names: list[str]) -> int:
    """Check environments, print a line for each, and return 1 if one is broken."""
    if not names:
        print(f"nothing is installed in {environments.root()}; `martlet env` lists the names")
    code = 0
    for name in names:
        try:
            environments.require(name)
            print(f"ok  {name}: {_text(environments.check(name))}", flush=True)
        except MartletError as error:
            print(f"!!  {name}: {error}", flush=True)
            code = 1
    return code


def _is_there(name: str) -> bool:
    return environments.state(name) is not environments.State.ABSENT


def _text(findings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in findings.items())
