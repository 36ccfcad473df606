"""Model versions by content: weights are stored once, under their hash."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from components.config.groups.tracking import tracking_uri
from components.errors import MartletError
from components.files import replacing, sha256_tree
from components.registry.store import connected, writing

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODELS = "mlruns/models"


@dataclass(frozen=True)
class Version:
    """A registered model: its number, the folder of its weights, and its lineage as tags."""

    name: str
    number: int
    folder: Path
    tags: Mapping[str, str]

    @property
    def reports(self) -> Path:
        """The folder of the evaluation reports."""
        return self.folder.parent / "reports"

    @property
    def content(self) -> str:
        """The hex sha256 of the weights folder."""
        return self.tags["content_sha256"]

    def verify(self) -> None:
        """Compare the weights with their registered hash.

        Raises:
            MartletError: the weights are gone or have changed.
        """
        if not self.folder.is_dir():
            raise MartletError(
                f"{self.name} version {self.number}: the weights are gone from {self.folder}; `martlet run` stores "
                "them again if its last run made them, and `martlet rollback` returns to another version"
            )
        if sha256_tree(self.folder) != self.content:
            raise MartletError(
                f"{self.name} version {self.number}: the weights in {self.folder} have changed since they were "
                "registered; remove that folder, and `martlet run` stores them again if its last run made them, or "
                "return to another version with `martlet rollback`"
            )


def register(
    name: str,
    weights: Path,
    workspace: Path,
    reports: Iterable[Path] = (),
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
    run_id: str | None = None,
) -> Version:
    """Store `weights` and `reports` below `mlruns/models/` and return their version under `name`.

    Weights are hard-linked where the file system allows links. Weights that are registered already keep their number;
    their reports, tags and description are updated.
    """
    content = sha256_tree(weights)
    home = workspace.resolve() / MODELS / content[:16]
    all_tags = {**(tags or {}), "content_sha256": content}
    with writing(workspace) as client:
        _store(weights, home / "model", content)
        for report in reports:
            with replacing(home / "reports" / report.name) as temporary:
                shutil.copyfile(report, temporary)
        existing = client.search_model_versions(f"name = '{name}' and tags.content_sha256 = '{content}'")
        if existing:
            number = existing[0].version
            for key, value in all_tags.items():
                client.set_model_version_tag(name, number, key, value)
            if description:
                client.update_model_version(name, number, description)
        else:
            _create_model(client, name)
            source = _source(workspace, home / "model")
            number = client.create_model_version(name, source, run_id, tags=all_tags, description=description).version
        return to_version(client.get_model_version(name, number), workspace)


def _store(weights: Path, target: Path, content: str) -> None:
    """Hard-link the files of `weights`, whose hash is `content`, to the folder `target`, complete or absent; across
    devices, copy them. A folder with other bytes is replaced."""
    if target.is_dir() and sha256_tree(target) == content:
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(weights, temporary, copy_function=_link)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another device, or a file system without links
        shutil.copyfile(source, target)


def _source(workspace: Path, folder: Path) -> str:
    """Return a file URI, which any MLflow client can open; an MLflow server refuses these, so it gets `martlet:`."""
    uri = folder.as_uri()
    return uri.replace("file:", "martlet:", 1) if tracking_uri(workspace).startswith("http") else uri


def _create_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def lookup(name: str, workspace: Path, number: int) -> Version:
    """Return the version with this number.

    Raises:
        MartletError: there is no such version, or its weights lie outside the workspace's `mlruns/models/`.
    """
    with connected(workspace) as client:
        numbered = {int(entity.version): entity for entity in client.search_model_versions(f"name = '{name}'")}
        if number not in numbered:
            choice = (
                f"there are {', '.join(map(str, sorted(numbered)))}"
                if numbered
                else "nothing is registered under that name"
            )
            raise MartletError(f"{name} has no version {number}; {choice}")
        return to_version(numbered[number], workspace)


def find(name: str, workspace: Path, **tags: str) -> Version | None:
    """Return the newest version with these tags, such as its `content_sha256` or its `variant`, or None.

    Raises:
        MartletError: its weights lie outside the workspace's `mlruns/models/`.
    """
    condition = "".join(f" and tags.{key} = '{value}'" for key, value in tags.items())
    with connected(workspace) as client:
        versions = client.search_model_versions(f"name = '{name}'{condition}")
        newest = max(versions, key=lambda entity: int(entity.version), default=None)
        return newest and to_version(newest, workspace)


def to_version(entity: Any, workspace: Path) -> Version:
    """Return a version as MLflow has it.

    Raises:
        MartletError: its weights lie outside the workspace's `mlruns/models/`.
    """
    root = workspace.resolve() / MODELS
    folder = Path(url2pathname(urlparse(entity.source).path)).resolve()
    if not folder.is_relative_to(root):  # of a workspace that was moved or copied
        moved = root / entity.tags.get("content_sha256", "")[:16] / "model"
        folder = moved if moved.is_dir() else folder
    if "content_sha256" not in entity.tags or not folder.is_relative_to(root):
        raise MartletError(
            f"{entity.name} version {entity.version} points to {entity.source}, which is not one of the models that "
            f"Martlet keeps in {root}; it is not loaded"
        )
    return Version(entity.name, int(entity.version), folder, dict(entity.tags))


def annotate(version: Version, workspace: Path, tags: Mapping[str, str]) -> None:
    """Set tags on a version, such as the gate's verdict."""
    with connected(workspace) as client:
        for key, value in tags.items():
            client.set_model_version_tag(version.name, str(version.number), key, value)
