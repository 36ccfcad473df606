"""A workspace of its own: the pipeline, its parameters and examples, in a git repository with DVC."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError
from components.files import sha256_of, sha256_tree, write_json

FILES = (
    "dvc.yaml", "params.yaml", "prefect.yaml", "prefect.toml", ".gitignore", ".dvcignore", "recipes/rank16.yaml",
    "examples/*.jsonl", "examples/eval/*.jsonl",
)  # fmt: skip
"""Patterns of the files of a workspace, which `pyproject.toml` puts into the wheel."""
CODE = ("tasks", "components")
"""Packages whose files are deps in the dvc.yaml of Martlet's repository."""
HEADER = """\
# The pipeline, once. `dvc repro` runs it, `dvc dag` draws it, and `martlet run` makes one Prefect task of each stage.
# A stage depends on its inputs, its parameters and the version of Martlet (martlet.json).
"""
README = """\
# A workspace of Martlet

`params.yaml` says what is trained on what, and how; the rest keeps its default. `dvc.yaml` is the pipeline,
`prefect.yaml` declares its deployments, `recipes/` holds variants, `examples/` has data and questions to begin with.
`reports/` and `models/` are made by runs, and are not in git.

```shell
martlet demo --base_only   # builds the tiny model that params.yaml names; or name another one there
martlet run                # runs the stages that changed, judges the model, promotes it if the gate opens
martlet status             # shows the last run, the champion, and what is at work
```
"""
CODE_FILE = "martlet.json"
"""The version of the code that the workspace runs, a dep of each stage in place of the code's files."""


def initialize(folder: Path) -> None:
    """Make a workspace in a new or empty folder, with a first commit.

    Raises:
        ConfigError: the folder is not empty or cannot be made, or git is not installed.
        MartletError: git or DVC failed.
    """
    if folder.exists() and any(entry.name != ".git" for entry in folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a new folder")
    source = _source()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}; name a folder elsewhere") from error
    (folder / "README.md").write_text(README, encoding="utf-8")
    for file in (file for pattern in FILES for file in source.glob(pattern)):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / "models/quantized").mkdir(parents=True)
    (folder / "models/quantized/.gitkeep").touch()
    _without_code(folder / "dvc.yaml")
    upgrade(folder)
    _make_repository(folder, source)


def upgrade(folder: Path) -> bool:
    """Write the version of the installed code into the workspace; return whether it is another than before, with which
    every stage runs anew."""
    packages = Path(__file__).parents[1]
    code = {"version": version("martlet"), "code_sha256": sha256_of([sha256_tree(packages / name) for name in CODE])}
    file = folder / CODE_FILE
    if file.is_file() and json.loads(file.read_text()) == code:
        return False
    write_json(file, code)
    return True


def _source() -> Path:
    """Return the folder of the workspace's files: Martlet's repository, or where its wheel puts them."""
    folders = (Path(__file__).parents[1], Path(sysconfig.get_path("data")) / "share/martlet")
    source = next((folder for folder in folders if (folder / "dvc.yaml").is_file()), None)
    if source is None:
        raise MartletError(f"the files of a workspace are not in {folders[1]}; install Martlet again")
    return source


def _without_code(file: Path) -> None:
    """Replace the code among the deps of each stage by `martlet.json`: the code is not in this workspace."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    yaml.indent(sequence=4, offset=2)
    document: Any = yaml.load(re.sub(r"\A(#.*\n)+", HEADER, file.read_text(encoding="utf-8")))
    for stage in document["stages"].values():
        body = stage.get("do", stage)
        data = [dep for dep in body["deps"] if Path(dep).parts[0] not in CODE]
        body["deps"] = [CODE_FILE, *data]
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)


def _make_repository(folder: Path, source: Path) -> None:
    is_inside = any((parent / ".git").exists() for parent in (folder, *folder.resolve().parents))
    if not is_inside:
        _call(folder, "git", "init", "--quiet")
    nested = [] if (folder / ".git").exists() else ["--subdir"]
    _call(folder, sys.executable, "-m", "dvc", "init", "--quiet", *nested)
    shutil.copyfile(source / ".dvc/config", folder / ".dvc/config")
    _call(folder, "git", "add", "--all", ".")
    has_identity = subprocess.run(["git", "config", "user.email"], cwd=folder, capture_output=True).returncode == 0
    identity = [] if has_identity else ["-c", "user.name=martlet", "-c", "user.email=martlet@localhost"]
    _call(folder, "git", *identity, "commit", "--quiet", "-m", "A workspace of Martlet", "--", ".")


def _call(folder: Path, *command: str) -> None:
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ConfigError("git is not installed; a workspace is a git repository") from error
    if ended.returncode:
        raise MartletError(f"{' '.join(command[:3])}: {ended.stderr.strip() or ended.stdout.strip()}")
