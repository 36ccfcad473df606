"""Code in model folders: it runs only where the user said so for this folder, in the version that was named.

`--trust_remote_code true` allows the code of one folder, for one process: a local folder, which the run's lineage knows
by its hash, or one of a hub at the commit that `--model_revision` names. No file of a folder can allow anything.
"""

from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.files import read_json

AUTO_CLASS = "AutoModelForCausalLM"
"""The class that finds a model's own, by the type or the code that its configuration names."""
REFUSAL = "code in the model's folder runs only with --trust_remote_code true: read it first"
_ALLOWED: set[Path] = set()


def allow(folder: Path) -> None:
    """Let the code in `folder` run in this process.

    Raises:
        ConfigError: the folder's settings name code of another repository, whose version nothing pins.
    """
    for file in folder.glob("*.json"):
        if other := _other_repository(file):
            raise ConfigError(
                f"trust_remote_code: {file} takes code from the repository {other}, whose version nothing pins; copy "
                "that code into the folder, and name it without the repository"
            )
    _ALLOWED.add(folder.resolve())


def is_allowed(folder: Path) -> bool:
    """Return whether the code in `folder` may run in this process."""
    return folder.resolve() in _ALLOWED


def refusal(architecture: str, config: dict[str, Any]) -> str:
    """Return why a model of a class that transformers does not have is refused, by its config.json."""
    missing = f"the installed transformers has no {architecture}"
    if AUTO_CLASS in (config.get("auto_map") or {}):
        return f"{missing}, and {REFUSAL}"
    return f"{missing}, and the folder brings no class of its own; a newer transformers may have it"


def _other_repository(file: Path) -> str | None:
    """Return the repository that the `auto_map` of a settings file takes code from, if it is not the file's own."""
    try:
        settings: Any = read_json(file)
        places = (settings.get("auto_map") or {}).values()
    except (ValueError, AttributeError):  # damaged, or a list; whoever needs the file says so
        return None
    names = [str(name) for place in places for name in (place if isinstance(place, list) else [place])]
    return next((name.partition("--")[0] for name in names if "--" in name), None)
