"""Both hubs' real clients against a stand-in on loopback, with all that goes wrong there, and against no hub at all."""

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.components.hub.hub_server import COMMIT, State, blob, serve, sha256
from tests.components.hub.processes import run

ROWS = b'{"query": "a", "response": "b"}\n' * 2
FILES = {
    "data/train.jsonl": ROWS,
    "data/test.jsonl": b'{"query": "held", "response": "out"}\n',
    "dataset_infos.json": b"{}",
    "README.md": b"---\nlicense: apache-2.0\n---\n# Rows\n",
}
EXPECTED = [["data/train.jsonl"], COMMIT, "apache-2.0"]
TAKE = """
import json, os, sys
from components.data.hub_files import locate_files
from components.errors import MartletError
try:
    for hub, repo_id, revision, subsets in json.loads(sys.argv[1]):
        files = locate_files(hub, repo_id, revision, subsets, similar=["owner/name", "other/thing"])
        paths = files.fetch()
        home = paths[0].parts.index("snapshots") + 2
        assert files.names == ["/".join(path.parts[home:]) for path in paths]
        assert all(os.sep + "home" + os.sep in str(path.resolve()) for path in paths)
        bytes_read = sum(len(path.read_bytes()) for path in paths)
        print(json.dumps([[files.names, files.commit, files.licence], bytes_read]))
except MartletError as error:
    print("error:", error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
NOBODY = "http://127.0.0.1:9"
HUBS = ["huggingface", "modelscope"]
HOMES = {"HF_HOME": "hf", "MODELSCOPE_CACHE": "ms", "MODELSCOPE_HOME": "config", "HOME": "."}
# Fewer tries, so that a test of what is told in the end takes no minute; the sleeps between them are the clients' own.
QUICK = {"MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1", "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "0"}


class Taken(NamedTuple):
    code: int
    found: list[Any]
    read: list[int]
    """Bytes of all files of each snapshot."""
    error: str


def take(name: str, endpoint: str, tmp: Path, *asks: tuple, repo_id: str = "owner/name", **variables: str) -> Taken:
    """Take snapshots in a process of its own.

    Each of `asks` is a revision and the subsets; the default is the main branch without a subset.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MODELSCOPE_"))}
    environment |= {variable: str(tmp / "home" / folder) for variable, folder in HOMES.items()}
    environment |= {"HF_ENDPOINT": endpoint, "MODELSCOPE_ENDPOINT": endpoint, "NO_PROXY": "*", **QUICK, **variables}
    wanted = [[name, repo_id, ask[0] if ask else None, ask[1:]] for ask in asks or [()]]
    done = run(TAKE, json.dumps(wanted), environment=environment, folder=Path.cwd())
    assert "Traceback" not in done.stderr, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    error = done.stderr.rpartition("error: ")[2].strip() if done.returncode else ""
    assert "\n" not in error
    return Taken(done.returncode, [line[0] for line in lines], [line[1] for line in lines], error or done.stderr)


def gets(state: State, name: str) -> int:
    """How many times the bytes of a file were asked for."""
    return sum(r.startswith("GET") and r.endswith((name, name.replace("/", "%2F"))) for r in state.requests)


# What is taken


@pytest.mark.parametrize("name", HUBS)
def test_a_snapshot_is_taken_at_a_commit_and_then_needs_no_network(name: str, tmp_path: Path):
    with serve(FILES) as state:
        first = take(name, state.endpoint, tmp_path)
        assert first.found == [EXPECTED], first.error
        assert state.served == {"data/train.jsonl": len(ROWS), "README.md": len(FILES["README.md"])}
        state.requests.clear()
        assert take(name, state.endpoint, tmp_path, (COMMIT,)).found == [EXPECTED]
        assert not state.requests
    away = take(name, NOBODY, tmp_path, (), (COMMIT,))
    assert away.found == [EXPECTED, EXPECTED] and f"its copy in the cache serves, commit {COMMIT}" in away.error


@pytest.mark.parametrize("name", HUBS)
def test_a_branch_that_moves_is_followed_and_a_commit_is_not(name: str, tmp_path: Path):
    newer = {**FILES, "data/train.jsonl": b'{"text": "new"}\n'}
    with serve(FILES) as state:
        state.branches["v1.0"] = COMMIT
        tagged = take(name, state.endpoint, tmp_path, ("v1.0",))
        assert tagged.found == [EXPECTED], tagged.error
        state.commits["e" * 40] = newer
        state.branches |= {"main": "e" * 40, "master": "e" * 40}
        both = take(name, state.endpoint, tmp_path, (COMMIT,), ("v1.0",), ())
        assert [found[1] for found in both.found] == [COMMIT, COMMIT, "e" * 40]
        assert both.read == [len(ROWS), len(ROWS), len(newer["data/train.jsonl"])]


@pytest.mark.parametrize("name", HUBS)
def test_only_the_files_of_a_subset_are_fetched_and_others_are_added_later(name: str, tmp_path: Path):
    configs = b"- {config_name: english, data_files: 'en/*'}\n- {config_name: zhongwen, data_files: zh/a.jsonl}\n"
    card = b"---\nconfigs:\n" + configs + b"---\n"
    files = {"README.md": card, "en/a.jsonl": b"{}\n", "en/b.jsonl": b"{}\n{}\n", "zh/a.jsonl": b"{}\n{}\n{}\n"}
    with serve(files) as state:
        taken = take(
            name, state.endpoint, tmp_path, (None, "zhongwen"), (COMMIT, "zhongwen"), (None, "zhongwen", "english")
        )
        assert [found[0] for found in taken.found] == [["zh/a.jsonl"], ["zh/a.jsonl"], [*files][3:] + [*files][1:3]]
        assert taken.read == [9, 9, 18]
        assert state.served == {name: len(body) for name, body in files.items()}
        unknown = take(name, state.endpoint, tmp_path, (None, "englisch"))
    assert unknown.code == 2
    assert (
        unknown.error
        == "dataset 'owner/name': has no subset 'englisch' (did you mean 'english'?); it has english, zhongwen"
    )


def test_modelscope_declares_subsets_in_a_file_of_its_own(tmp_path: Path):
    meta = {
        "default": {"train": {"meta": "a.csv", "file": ""}, "test": {"meta": "t.csv"}},
        "zh": {"train": {"meta": "b.csv"}},
    }
    files = {"name.json": json.dumps(meta).encode(), "a.csv": b"x\n1\n", "b.csv": b"x\n12\n", "t.csv": b"x\n123\n"}
    with serve(files) as state:
        taken = take("modelscope", state.endpoint, tmp_path, (), (COMMIT,), (COMMIT, "zh"))
    assert [found[0] for found in taken.found] == [["a.csv"], ["a.csv"], ["b.csv"]] and taken.read == [4, 4, 5]


@pytest.mark.parametrize("name", HUBS)
def test_a_private_dataset_is_read_with_a_token(name: str, tmp_path: Path):
    with serve(FILES, token="secret") as state:
        opened = take(name, state.endpoint, tmp_path, HF_TOKEN="secret", MODELSCOPE_API_TOKEN="secret")
        assert opened.found == [EXPECTED], opened.error


# What a hub refuses


@pytest.mark.parametrize("name", HUBS)
def test_an_unknown_dataset_and_an_absent_hub_are_explained(name: str, tmp_path: Path):
    with serve(FILES) as state:
        unknown = take(name, state.endpoint, tmp_path, repo_id="owner/nam")
    assert unknown.code == 2
    assert "'owner/nam': no such dataset on " in unknown.error and "(did you mean 'owner/name'?)" in unknown.error
    began = time.monotonic()
    absent = take(name, NOBODY, tmp_path)
    assert absent.code == 1 and time.monotonic() - began < 30
    assert f"({NOBODY}) does not answer and no copy is in its cache" in absent.error
    assert "name a local file" in absent.error


@pytest.mark.parametrize(
    ("name", "token", "status", "told"),
    [
        ("huggingface", "", 401, "it is private and HF_TOKEN is not set"),
        ("modelscope", "", 401, "it is private and MODELSCOPE_API_TOKEN is not set"),
        ("modelscope", "x", 401, "refuses the token (MODELSCOPE_API_TOKEN) as invalid or expired; make a new one"),
        ("modelscope", "", 403, "denies access (403): set MODELSCOPE_API_TOKEN"),
        ("huggingface", "x", 403, "denies access (403): the token (HF_TOKEN) has no access to it; ask its owner"),
    ],
)
def test_a_token_that_is_missing_or_has_no_access(name: str, token: str, status: int, told: str, tmp_path: Path):
    variable = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}[name]
    with serve(FILES, statuses={"owner/name": [(status, {})]}) as state:
        refused = take(name, state.endpoint, tmp_path, **({variable: token} if token else {}))
    assert refused.code == 2 and told in refused.error, refused.error


def test_a_gated_dataset_of_hugging_face_names_the_page_where_it_is_opened(tmp_path: Path):
    with serve(FILES, gated=True) as state:
        gated = take("huggingface", state.endpoint, tmp_path, HF_TOKEN="secret")
    assert gated.code == 2 and f"accept its conditions on {state.endpoint}/datasets/owner/name" in gated.error


def test_an_unknown_revision(tmp_path: Path):
    with serve(FILES) as state:
        hugging, scope = (take(name, state.endpoint, tmp_path, ("v9",)) for name in HUBS)
        escaping = take("modelscope", state.endpoint, tmp_path, ("../v9",))
    assert hugging.code == 2 and "has no revision 'v9' on Hugging Face; name a branch, a tag" in hugging.error
    assert (
        scope.code == 2 and "no such dataset on ModelScope, or no revision 'v9' of it, or it is private" in scope.error
    )
    assert escaping.code == 2 and "'../v9' is not the name of a branch, a tag or a commit" in escaping.error


@pytest.mark.parametrize("name", HUBS)
def test_a_rate_limit_is_waited_for_as_long_as_the_hub_says(name: str, tmp_path: Path):
    busy = (429, {"Retry-After": "0"})
    patient = {"MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "4", "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "2"}
    with serve(FILES, statuses={"/tree": [busy, busy, (200, {})], "/repo?": [busy, (200, {})]}) as state:
        waited = take(name, state.endpoint, tmp_path, **patient)
        assert waited.found == [EXPECTED], waited.error
    with serve(FILES, statuses={"owner/name": [(429, {"Retry-After": "0"})]}) as state:
        refused = take(name, state.endpoint, tmp_path, ("main",), **patient)
        assert refused.code == 1 and "had too many requests (429); run again later, or set " in refused.error
        assert len(state.requests) - 1 == {"huggingface": 5, "modelscope": 4}[name]


def test_hugging_face_is_not_waited_for_longer_than_a_minute(tmp_path: Path):
    window = {"ratelimit": '"api";r=0;t=280'}
    with serve(FILES, statuses={"owner/name": [(429, window)]}) as state:
        refused = take("huggingface", state.endpoint, tmp_path)
    assert refused.code == 1 and "too many requests (429) and asks to wait 280 s; run again later" in refused.error


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_that_is_out_of_order_serves_from_the_cache_or_is_told(name: str, tmp_path: Path):
    with serve(FILES, statuses={"owner/name": [(500, {})]}) as state:
        told = take(name, state.endpoint, tmp_path)
        assert told.code == 1 and "answers with status 500 and no copy is in its cache" in told.error
        state.statuses.clear()
        assert take(name, state.endpoint, tmp_path).found == [EXPECTED]
        state.statuses["owner/name"] = [(500, {})]
        served = take(name, state.endpoint, tmp_path)
        assert served.found == [EXPECTED] and "its copy in the cache serves" in served.error


def test_hugging_face_is_not_asked_when_a_variable_says_so(tmp_path: Path):
    with serve(FILES) as state:
        cold = take("huggingface", state.endpoint, tmp_path, HF_HUB_OFFLINE="1")
        assert cold.code == 1 and "HF_HUB_OFFLINE is set and no copy is in its cache (HF_HOME); unset it" in cold.error
        assert not state.requests
        assert take("huggingface", state.endpoint, tmp_path).found == [EXPECTED]
        state.requests.clear()
        assert take("huggingface", state.endpoint, tmp_path, HF_HUB_OFFLINE="1").found == [EXPECTED]
        assert not state.requests


# What goes wrong on the way


def test_modelscope_resumes_a_broken_download_in_the_middle_of_a_file(tmp_path: Path):
    large = bytes(range(256)) * 4096
    files = {**FILES, "data/train-2.jsonl": large}
    with serve(files, broken={"data/train-2.jsonl": [700_000]}) as state:
        broken = take("modelscope", state.endpoint, tmp_path)
        assert broken.code == 1 and "broke the connection" in broken.error and "run again to go on" in broken.error
        assert state.served["data/train-2.jsonl"] == 700_000
        whole = take("modelscope", state.endpoint, tmp_path)
        assert whole.read == [len(ROWS) + len(large)], whole.error
        assert state.served["data/train-2.jsonl"] == len(large) and state.served["data/train.jsonl"] == len(ROWS)


def test_hugging_face_resumes_in_a_file_within_a_run_and_by_files_between_runs(tmp_path: Path):
    chunk = 10 << 20  # the client keeps whole chunks only
    large = bytes(range(256)) * (chunk // 256 + 4096)
    files = {**FILES, "data/train-2.jsonl": large}
    with serve(files, broken={"data/train-2.jsonl": [chunk + 1000, -chunk - 5000]}) as state:
        broken = take("huggingface", state.endpoint, tmp_path)
        assert broken.code == 1 and "broke the connection" in broken.error and "run again to go on" in broken.error
        assert state.served["data/train-2.jsonl"] == chunk + 6000  # the first break was resumed, the reset was not
        whole = take("huggingface", state.endpoint, tmp_path)
        assert whole.read == [len(ROWS) + len(large)], whole.error
        assert state.served["data/train-2.jsonl"] == chunk + 6000 + len(large)
        assert state.served["data/train.jsonl"] == len(ROWS)


@pytest.mark.parametrize("name", HUBS)
def test_a_file_that_is_gone_or_cut_in_the_cache_is_fetched_anew(name: str, tmp_path: Path):
    two = {**FILES, "data/train-2.jsonl": b'{"query": "e", "response": "f"}\n'}
    with serve(two) as state:
        assert take(name, state.endpoint, tmp_path).code == 0
        (path,) = tmp_path.glob("home/*/**/snapshots/*/data/train-2.jsonl")
        path.resolve().write_bytes(b"{")
        absent = take(name, NOBODY, tmp_path, (COMMIT,))
        assert absent.code == 1 and "does not answer" in absent.error
        mended = take(name, state.endpoint, tmp_path, (COMMIT,))
        assert mended.read == [len(ROWS) + 32] and state.served["data/train.jsonl"] == len(ROWS), mended.error


@pytest.mark.parametrize(("name", "lfs"), [("huggingface", True), ("huggingface", False), ("modelscope", False)])
def test_bytes_that_are_not_those_of_the_listing_are_refused(name: str, lfs: bool, tmp_path: Path):
    other = ROWS.replace(b"a", b"x")
    with serve(FILES, damaged={"data/train.jsonl": other}, lfs={"data/train.jsonl"} if lfs else set()) as state:
        refused = take(name, state.endpoint, tmp_path)
        assert refused.code == 1 and "checksum" in refused.error and "data/train.jsonl" in refused.error
        assert not list(tmp_path.glob("home/*/**/snapshots/*/data/train.jsonl"))
        state.damaged.clear()
        assert take(name, state.endpoint, tmp_path).found == [EXPECTED]


@pytest.mark.parametrize("name", HUBS)
def test_a_dataset_larger_than_the_disk_is_not_begun(name: str, tmp_path: Path):
    with serve(FILES, sizes={"data/train.jsonl": 10**18}) as state:
        refused = take(name, state.endpoint, tmp_path)
        assert refused.code == 1 and "'owner/name' needs 1,000,000,000.0 GB and the disk of" in refused.error
        assert gets(state, "data/train.jsonl") == 0


def test_a_disk_that_fills_up_is_told(tmp_path: Path):
    with serve(FILES) as state:
        folder = tmp_path / f"home/ms/datasets/owner--name/snapshots/{COMMIT}/data"
        folder.mkdir(parents=True)
        (folder / "train.jsonl.incomplete").symlink_to("/dev/full")
        full = take("modelscope", state.endpoint, tmp_path)
    assert full.code == 1 and "'owner/name': the disk is full; free some of it, or set MODELSCOPE_CACHE" in full.error


@pytest.mark.parametrize("name", HUBS)
@pytest.mark.parametrize("escape", ["data/../../escape.jsonl", "/escape.jsonl"])
def test_names_outside_of_the_snapshot_are_refused(name: str, escape: str, tmp_path: Path):
    with serve({**FILES, escape: b"{}\n"}) as state:
        refused = take(name, state.endpoint, tmp_path)
        assert refused.code == 2 and f"lists '{escape}', which would lie outside" in refused.error
        assert not state.served
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("name", HUBS)
def test_a_repository_without_rows_and_one_without_a_shard(name: str, tmp_path: Path):
    with serve({"README.md": b"# nothing", "model.bin": b"x"}) as state:
        nothing = take(name, state.endpoint, tmp_path / "nothing")
    assert nothing.code == 2 and "holds no file of rows" in nothing.error
    shards = {f"data/train-0000{n}-of-00003.parquet": b"x" for n in (0, 2)}
    with serve(shards) as state:
        shorter = take(name, state.endpoint, tmp_path)
        assert shorter.code == 2 and not state.served
    assert "lacks 1 of its 3 shards, the first is data/train-00001-of-00003.parquet" in shorter.error


def test_the_stand_in_has_the_hashes_of_git():
    assert blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# Media of rows

MEDIA = """
import json, sys
from pathlib import Path
from components.config.groups.data import Data
from components.data.hub_files import locate_files
from components.data.load import origin_of
from components.data.media import MediaStore
files = locate_files(sys.argv[1], "owner/name", None, ())
[path] = files.fetch()
store = MediaStore(Path("media"), Path("memo.json"), Path.cwd(), Data())
lines = path.read_bytes().splitlines()
rows = store.rows(lines, [origin_of(path, files.repository)] * len(lines))
print(json.dumps([json.loads(row)["images"][0] for row in rows]))
"""


@pytest.mark.parametrize("name", HUBS)
def test_media_of_rows_are_files_of_the_repository_and_no_others(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(b"of this machine")
    names = ["images/a.png", "../b.png", "b.png", "../../../../../own.png", str(tmp_path / "own.png"), "own.png"]
    rows = [{"messages": [{"role": "user", "content": "<image>?"}], "images": [one]} for one in names]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files = {"data/train.jsonl": lines, "data/images/a.png": b"a", "b.png": b"b", "other.png": b"other"}
    files["README.md"] = FILES["README.md"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MODELSCOPE_"))}
    environment |= {variable: str(tmp_path / "home" / folder) for variable, folder in HOMES.items()} | QUICK
    with serve(files) as state:
        environment |= {"HF_ENDPOINT": state.endpoint, "MODELSCOPE_ENDPOINT": state.endpoint, "NO_PROXY": "*"}
        environment["PYTHONPATH"] = str(Path.cwd())
        done = run(MEDIA, name, environment=environment, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert set(state.served) == {"data/train.jsonl", "data/images/a.png", "b.png", "README.md"}
    references = json.loads(done.stdout)
    assert [one.get("sha256") for one in references] == [sha256(b"a"), sha256(b"b"), sha256(b"b"), None, None, None]
    assert all("no such file in the dataset 'owner/name'" in one["problem"] for one in references[3:])
