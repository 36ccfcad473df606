"""Model versions by content: weights are kept once, and found again by their hash."""

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
    """One registered model: its number, the folder of its weights, and its lineage as tags."""

    name: str
    number: int
    folder: Path
    tags: Mapping[str, str]

    @property
    def reports(self) -> Path:
        """The folder of its evaluation reports."""
        return self.folder.parent / "reports"

    @property
    def content(self) -> str:
        """Hex sha256 over its weights folder."""
        return self.tags["content_sha256"]

    def verify(self) -> None:
        """Read the weights and compare them with the hash they were registered by.

        Raises:
            MartletError: they are gone or have changed.
        """
        if not self.folder.is_dir():
            raise MartletError(f"{self.name} version {self.number}: its weights are gone from {self.folder}")
        if sha256_tree(self.folder) != self.content:
            raise MartletError(
                f"{self.name} version {self.number}: the weights in {self.folder} have changed since they were "
                "registered; remove that folder and register them again"
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
    """Keep `weights` and `reports` below `mlruns/models/`, and give them a version number under `name`.

    The weights are hard-linked where the file system allows it. Weights that are registered already keep their number;
    their reports, tags and description are brought up to date.
    """
    content = sha256_tree(weights)
    home = workspace.resolve() / MODELS / content[:16]
    described = {**(tags or {}), "content_sha256": content}
    with writing(workspace) as client:
        _keep(weights, home / "model")
        for report in reports:
            with replacing(home / "reports" / report.name) as temporary:
                shutil.copyfile(report, temporary)
        known = client.search_model_versions(f"name = '{name}' and tags.content_sha256 = '{content}'")
        if known:
            number = known[0].version
            for key, value in described.items():
                client.set_model_version_tag(name, number, key, value)
            if description:
                client.update_model_version(name, number, description)
        else:
            _create_model(client, name)
            source = _source(workspace, home / "model")
            number = client.create_model_version(name, source, run_id, tags=described, description=description).version
        return _version(client.get_model_version(name, number), workspace)


def _keep(weights: Path, target: Path) -> None:
    """Hard-link the files of `weights` to `target`: complete or absent. Another device gets a copy."""
    if target.is_dir():
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(weights, temporary, copy_function=_link)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another device, or a file system without links
        shutil.copyfile(source, target)


def _source(workspace: Path, folder: Path) -> str:
    """A file URI, so that any MLflow client finds the weights. Servers refuse those; a scheme of our own passes."""
    uri = folder.as_uri()
    return uri.replace("file:", "martlet:", 1) if tracking_uri(workspace).startswith("http") else uri


def _create_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def lookup(name: str, workspace: Path, *, number: int | None = None, content: str | None = None) -> Version:
    """The version with this number, or with this content hash.

    Raises:
        MartletError: there is none, or its weights lie outside the workspace's `mlruns/models/`.
    """
    with connected(workspace) as client:
        wanted = f"and version_number = {number}" if number else f"and tags.content_sha256 = '{content}'"
        found = client.search_model_versions(f"name = '{name}' {wanted}")
        if not found:
            numbers = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
            known = f"there are {', '.join(map(str, numbers))}" if numbers else "nothing is registered under that name"
            what = f"version {number}" if number else f"version with content {str(content)[:16]}"
            raise MartletError(f"{name} has no {what}; {known}")
        return _version(found[0], workspace)


def _version(entity: Any, workspace: Path) -> Version:
    root = workspace.resolve() / MODELS
    folder = Path(url2pathname(urlparse(entity.source).path)).resolve()
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
