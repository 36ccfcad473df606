"""Names of local models: found, hashed, and misspelt."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import ConfigError
from components.files import sha256_tree
from components.models import folder, identity, resolve


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    base = tmp_path / "models/base"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"x" * 2_000_000)
    (base / ".hidden").write_text("not part of it")
    return tmp_path


def test_a_folder_is_identified_by_its_content(workspace: Path):
    first = resolve("models/base", None, False, workspace)
    assert first == {"model": "models/base", "source": "local", "revision": None, "sha256": first["sha256"]}
    assert first["sha256"] == sha256_tree(workspace / "models/base")
    assert folder(first, workspace) == workspace / "models/base"
    (workspace / "models/base/.hidden").write_text("changed")
    assert resolve("models/base", None, False, workspace) == first
    (workspace / "models/base/config.json").write_text("[]")
    assert resolve("models/base", None, False, workspace)["sha256"] != first["sha256"]


def test_a_large_file_is_hashed_once_until_it_changes(workspace: Path, monkeypatch):
    hashed = []
    monkeypatch.setattr(identity, "sha256", lambda file: hashed.append(file.name) or file.read_bytes()[:9].hex())
    weights = workspace / "models/base/model.safetensors"
    first = resolve("models/base", None, False, workspace)
    assert resolve("models/base", None, False, workspace) == first
    assert hashed.count("model.safetensors") == 1
    status = weights.stat()
    weights.write_bytes(b"y" * 2_000_000)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert resolve("models/base", None, False, workspace) != first


@pytest.mark.parametrize("damage", ["", "[]", '{"a": 1}', '{"a": "no"}', "\0"])
def test_damaged_hashes_are_computed_again(workspace: Path, damage: str):
    whole = resolve("models/base", None, False, workspace)
    (workspace / identity.MEMO).parent.mkdir(exist_ok=True)
    (workspace / identity.MEMO).write_text(damage)
    assert resolve("models/base", None, False, workspace) == whole


def test_a_misspelt_folder_is_not_looked_up_on_a_hub(workspace: Path):
    with pytest.raises(ConfigError, match=r"no such folder 'models/bose'.*did you mean 'base'"):
        resolve("models/bose", None, False, workspace)
    with pytest.raises(ConfigError, match=r"no such folder '\./nowhere'"):
        resolve("./nowhere", None, True, workspace)
    with pytest.raises(ConfigError, match="no revisions"):
        resolve("models/base", "main", False, workspace)


def test_resolving_a_folder_imports_nothing_heavy(workspace: Path):
    code = (
        "import sys; from pathlib import Path; from components.models import resolve;"
        f"resolve('models/base', None, False, Path({str(workspace)!r}));"
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'modelscope_hub', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
