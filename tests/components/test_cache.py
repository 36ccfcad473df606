import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import cache
from components.files import MANIFEST, read_json, replacing_folder, sha256

PARTS = {"rows": "a" * 64, "max_length": 2048, "code": "b"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARTLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tokens(folder: Path, content: str = "tokens") -> Path:
    with replacing_folder(folder) as made:
        (made / "train.arrow").write_text(content)
    return folder


def test_what_was_kept_is_put_back_elsewhere_with_its_result(tmp_path: Path) -> None:
    outs = {"tokens": tokens(tmp_path / "one/tokens"), "page": tmp_path / "one/page.html"}
    outs["page"].write_text("a page")
    assert cache.restore("template", PARTS, outs) is None
    cache.keep("template", PARTS, outs, {"samples": 3})
    there = {"tokens": tmp_path / "two/tokens", "page": tmp_path / "two/page.html"}
    tokens(there["tokens"], "old ones")
    assert cache.restore("template", PARTS, there) == {"samples": 3}
    assert (there["tokens"] / "train.arrow").read_text() == "tokens"
    assert there["page"].read_text() == "a page"
    assert (there["tokens"] / MANIFEST).read_bytes() == (outs["tokens"] / MANIFEST).read_bytes()


@pytest.mark.parametrize(
    "manifest",
    [
        "", "nonsense", "[]", "null", '{"files": []}', '{"files": {}}', '{"files": {"page": 3}}', "no stage",
        "no made_of", "no result", "no tokens",
    ],
)  # fmt: skip
def test_an_entry_with_a_manifest_of_another_shape_is_a_miss(tmp_path: Path, own_cache: Path, manifest: str) -> None:
    outs = {"tokens": tokens(tmp_path / "one/tokens")}
    cache.keep("template", PARTS, outs, {"samples": 3})
    [file] = own_cache.glob(f"template/*/{MANIFEST}")
    content = read_json(file)
    content.pop(manifest.removeprefix("no "), None)
    if manifest == "no tokens":
        shutil.rmtree(file.parent / "tokens")
        (file.parent / "other").write_text("x")
        content["files"] = {"other": {"size": 1, "sha256": sha256(file.parent / "other")}}
    file.write_text(json.dumps(content) if manifest.startswith("no ") else manifest)
    assert len(list(cache.entries())) == (manifest == "no tokens")
    assert cache.restore("template", PARTS, outs) is None
    assert (tmp_path / "one/tokens/train.arrow").read_text() == "tokens"
    cache.keep("template", PARTS, outs, {"samples": 3})
    assert cache.restore("template", PARTS, outs) == {"samples": 3}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.none(), max_size=3))
def test_other_parts_are_another_entry(tmp_path: Path, change: dict) -> None:
    outs = {"tokens": tokens(tmp_path / "one")}
    cache.keep("template", PARTS, outs, {})
    other = {**PARTS, **change}
    found = cache.restore("template", other, {"tokens": tmp_path / "two"})
    assert (found is not None) == (other == PARTS)
    assert cache.restore("validate", PARTS, {"tokens": tmp_path / "two"}) is None


def test_a_file_changed_in_place_is_not_handed_out(tmp_path: Path) -> None:
    outs = {"tokens": tokens(tmp_path / "one")}
    cache.keep("template", PARTS, outs, {})
    (tmp_path / "one/train.arrow").write_text("nekots")  # in place, of the same size: the entry shares its bytes
    assert cache.restore("template", PARTS, {"tokens": tmp_path / "two"}) is None
    assert not (tmp_path / "two").exists()
    assert list(cache.entries()) == []


def keep_big(folder: Path, begun: Path) -> None:
    begun.touch()
    while True:
        cache.keep("template", PARTS, {"tokens": folder}, {"samples": 1})
        for entry in cache.entries():
            cache._remove(entry.folder)


@pytest.mark.parametrize("after", [0.0, 0.003, 0.01, 0.02, 0.04])
def test_a_writer_killed_at_any_point_leaves_an_entry_or_none(tmp_path: Path, own_cache: Path, after: float) -> None:
    source = tokens(tmp_path / "one", "x" * 3_000_000)
    writer = multiprocessing.get_context("fork").Process(target=keep_big, args=(source, tmp_path / "begun"))
    writer.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.001)
    time.sleep(after)
    assert writer.pid
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    found = cache.restore("template", PARTS, {"tokens": tmp_path / "two"})
    assert found in (None, {"samples": 1})
    assert (found is None) == (not (tmp_path / "two").exists())
    if found:
        assert (tmp_path / "two/train.arrow").read_text() == "x" * 3_000_000
    later = time.time() + 7200
    for folder in own_cache.glob("*/*"):
        os.utime(folder, (later - 14400, later - 14400))
    cache.prune()
    assert list(own_cache.glob("*/*")) == []


def write_often(folder: Path) -> None:
    for _ in range(20):
        cache.keep("template", PARTS, {"tokens": folder}, {"samples": 1})


def test_two_writers_of_one_entry_leave_one(tmp_path: Path, own_cache: Path) -> None:
    sources = [tokens(tmp_path / name, "x" * 100_000) for name in ("one", "two")]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(source,)) for source in sources]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(list(own_cache.glob("*/*"))) == 1
    assert cache.restore("template", PARTS, {"tokens": tmp_path / "three"}) == {"samples": 1}


def test_entries_are_listed_the_last_used_first_and_pruned_by_age(tmp_path: Path) -> None:
    for n in range(3):
        cache.keep("template", PARTS | {"max_length": n}, {"tokens": tokens(tmp_path / str(n))}, {"n": n})
    ages = {0: 100, 1: 5000, 2: 10}
    for entry in cache.entries():
        at = time.time() - ages[entry.result["n"]]
        os.utime(entry.folder / MANIFEST, (at, at))
    assert [entry.result["n"] for entry in cache.entries()] == [2, 0, 1]
    assert all(entry.size == sum(f["size"] for f in read_json(entry.folder / MANIFEST)["files"].values())
               for entry in cache.entries())  # fmt: skip
    assert len(cache.prune(unused_for=1000)) == 1
    assert [entry.result["n"] for entry in cache.entries()] == [2, 0]
    assert cache.restore("template", PARTS | {"max_length": 0}, {"tokens": tmp_path / "x"}) == {"n": 0}
    assert [entry.result["n"] for entry in cache.entries()] == [0, 2]
    assert len(cache.prune()) == 2


def test_the_hash_of_code_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_package"
    package.mkdir()
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text("x = 1\n")
    (tmp_path / "some_module.py").write_text("y = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = cache.code("some_package", "some_module")
    assert cache.code("some_package", "some_module") == before != cache.code("some_package")
    (package / "inner.py").write_text("x = 2\n")
    assert cache.code("some_package", "some_module") != before
