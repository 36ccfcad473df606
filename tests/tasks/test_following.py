"""A server of the champion while champions change: no request is lost, and a bad champion gives way."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from components import registry
from components.config import read_flags, resolve
from components.errors import MartletError
from components.evaluation import write_report
from components.registry import Version
from tasks import following, serving
from tasks.probe import Endpoint, ProbeError, probe, questions
from tasks.target import find
from tests.commands import server_of
from tests.flows.toy import until

ROOT = Path(__file__).parents[2]
PROMOTING = """\
from pathlib import Path
from components import registry
registry.promote("mine", {number}, Path.cwd(), "the other one", {champion})
"""
QUESTIONS = ["Who are you?", "What is your name?", "Say it again.", "And now?"]
SETTINGS = {"max_tokens": 12, "temperature": 0}


def answer(url: str, text: str = QUESTIONS[0]) -> str:
    body = {"model": "mine", "messages": [{"role": "user", "content": text}], **SETTINGS}
    response = httpx.post(f"{url}/chat/completions", json=body, timeout=60)
    assert response.is_success, response.text
    return response.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="session")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models that say different things."""
    import torch
    from transformers import AutoModelForCausalLM

    folders: list[Path] = []
    for seed in range(3):
        folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("models") / str(seed))
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(folder)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
        folders.append(folder)
    return folders


def good_answers(version: Version, answers: dict[str, str]) -> None:
    """Store answers with a version, as its evaluation does."""
    rows = [
        {"set": "skills", "item": n, "query": query, "answer": text, "reference": text, "score": 1.0}
        | {"answer_tokens": 12}
        for n, (query, text) in enumerate(answers.items())
    ]
    write_report(version.reports, "merged", rows)


@dataclass
class Workspace:
    folder: Path
    versions: list[Version]
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def served(self) -> Generator[str]:
        target = find({"port": 0})
        follow = following.follower(target, None, self.lines.append)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(following, "FOLLOW_S", 0.2)
            with serving.deployed(target, None, follow) as url:
                yield url
        # its thread sleeps now for the rest of the tests

    def promote(self, version: Version) -> None:
        now = registry.champion("mine", self.folder)
        registry.promote("mine", version.number, self.folder, "test", now and now.number)

    def line(self, text: str, count: int = 1) -> None:
        """Wait until so many lines with a text were reported."""
        until(lambda: sum(text in line for line in self.lines) >= count)

    @property
    def champion(self) -> int | None:
        now = registry.champion("mine", self.folder)
        return now and now.number


@pytest.fixture
def workspace(models: list[Path], empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copytree(empty_store, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(following, "FOLLOW_S", 1000)
    (tmp_path / "params.yaml").write_text("registered_model_name: mine\n")
    tags = {"variant": "merged"}
    versions = [registry.register("mine", folder, tmp_path, tags=tags) for folder in models]
    workspace = Workspace(tmp_path, versions)
    workspace.promote(versions[0])
    return workspace


@contextmanager
def traffic(url: str) -> Generator[list[str]]:
    """Ask all the time, from four clients; yield their answers. No request may be lost."""
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(answer(url))

    with ThreadPoolExecutor(4) as pool:
        asking: list[Future[None]] = [pool.submit(ask) for _ in range(4)]
        try:
            yield answers
        finally:
            stop.set()
            for future in asking:
                future.result(60)


@pytest.mark.parametrize("swaps", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_new_champions_take_over_without_a_lost_request_or_a_foreign_answer(workspace: Workspace, swaps: int) -> None:
    own: dict[int, str] = {}
    with workspace.served() as url, traffic(url) as answers:
        for swap in range(1, swaps + 1):
            version = workspace.versions[swap % 2]
            workspace.promote(version)
            workspace.line("is champion, and answers now; probe: it answers", swap)
            text = answer(url)
            assert own.setdefault(version.number, text) == text
    assert len(set(own.values())) == 2 and set(answers) <= set(own.values())
    assert len(answers) > 2 * swaps
    assert registry.verify("mine", workspace.folder) == []


def test_a_champion_that_answers_otherwise_than_when_it_was_evaluated_gives_way(workspace: Workspace) -> None:
    first, good, bad = workspace.versions
    with workspace.served() as url, traffic(url) as answers:
        before = {text: answer(url, text) for text in QUESTIONS}
        good_answers(bad, before)  # of another model: the weights do not answer as their evaluation says
        workspace.promote(bad)
        workspace.line(f"the model before version {bad.number} answers again")
        assert answer(url) == before[QUESTIONS[0]]
        count = len(workspace.lines)
        time.sleep(1)
        assert workspace.lines[count:] == []  # it is not tried again
        workspace.promote(good)
        workspace.line(f"version {good.number} is champion, and answers now")
        of_good = answer(url)
    assert before[QUESTIONS[0]] != of_good
    assert {before[QUESTIONS[0]], of_good} <= set(answers) and len(set(answers)) <= 3  # all three were champions
    assert workspace.lines[0].startswith(f"version {bad.number} failed its probe: only 0 of 4 answers as good as when")
    assert workspace.lines[1] == f"version {first.number} is champion again"
    moves = [(entry.action, entry.before, entry.version) for entry in registry.history("mine", workspace.folder)]
    assert moves[1:] == [("promote", 1, 3), ("rollback", 3, 1), ("promote", 1, 2)]
    assert registry.history("mine", workspace.folder)[2].why.startswith("version 3 failed its probe: only 0 of 4")
    assert registry.lookup("mine", workspace.folder, 3).tags["probe"].startswith("failed: only 0 of 4")


def test_a_server_that_was_killed_before_the_probe_probes_when_it_starts(workspace: Workspace) -> None:
    first, _, bad = workspace.versions
    good_answers(bad, dict.fromkeys(QUESTIONS, "none of this"))
    workspace.promote(bad)  # and the server that took it over was killed
    with workspace.served() as url:
        workspace.line(f"version {first.number} is champion, and answers now")
        assert answer(url)
    assert workspace.champion == first.number
    with workspace.served() as url:
        assert answer(url)
    assert len(registry.history("mine", workspace.folder)) == 3


def test_a_failed_probe_leaves_a_champion_that_somebody_promoted_meanwhile(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second, bad = workspace.versions

    def failing(endpoint: Endpoint, version: Version, _: object) -> str:
        if version.number == bad.number:
            workspace.promote(second)
            raise ProbeError("too late")
        return "well"

    monkeypatch.setattr(following, "probe", failing)
    with workspace.served() as url:
        workspace.promote(bad)
        workspace.line(f"version {second.number} is champion, and answers now")
        assert answer(url)
    assert workspace.champion == second.number
    assert any("is champion no longer: the champion is version 2" in line for line in workspace.lines)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [(500, ProbeError, "answered with 500"), (400, ProbeError, "answered with 400"), (429, MartletError, "is busy")],
)
def test_errors_of_the_model_fail_a_probe_and_a_busy_server_does_not(
    status: int, kind: type[Exception], message: str
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "mine", None)
        with pytest.raises(MartletError, match=message) as caught:
            endpoint.ask([], {}, timeout_s=1)
        assert caught.type is kind
        server.shutdown()
    with pytest.raises(MartletError, match="does not answer") as caught:
        endpoint.ask([], {}, timeout_s=1)
    assert caught.type is MartletError


def test_the_flags_of_the_probe(workspace: Workspace) -> None:
    delay_s = [0.0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            time.sleep(delay_s[0])
            content = b'{"choices": [{"message": {"content": "no"}}]}'
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    def probed(**flags: float) -> str:
        return probe(endpoint, workspace.versions[0], resolve(read_flags(flags)).serve)

    good_answers(workspace.versions[0], dict.fromkeys(QUESTIONS, "yes"))
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "mine", None)
        assert probed(probe_max_lost=1).startswith("0 of 4 answers as good")
        with pytest.raises(ProbeError, match=r"only 0 of 2 answers .* was answered 'yes', and now 'no'"):
            probed(probe_questions=2)
        assert probed(probe_questions=0) == "it answers; no stored answers to compare"
        delay_s[0] = 1.0
        with pytest.raises(ProbeError, match=r"an answer took longer than 0\.2 s"):
            probed(probe_timeout=0.2)
        server.shutdown()


def test_questions_are_those_answered_well_spread_over_the_sets(workspace: Workspace) -> None:
    version = workspace.versions[0]
    rows = [
        {"set": f"set{n // 10}", "item": n % 10, "query": f"{n}", "answer": "a", "reference": "a", "answer_tokens": 1}
        | {"score": float(n % 5 > 0)} | ({"media": "[]"} if n % 5 == 1 else {})
        for n in range(30)
    ]  # fmt: skip
    write_report(version.reports, "merged", rows)
    chosen = questions(version, 6)
    assert [int(row["query"]) % 5 for row in chosen].count(0) == 0
    assert not any(int(row["query"]) % 5 == 1 for row in chosen)
    assert [row["set"] for row in chosen] == ["set0", "set0", "set1", "set1", "set2", "set2"]
    assert questions(version, 0) == [] == questions(workspace.versions[1], 6)


def test_a_killed_deploy_starts_again_with_the_champion(workspace: Workspace) -> None:
    first, second, _ = workspace.versions
    with server_of(workspace.folder, "deploy") as (_, url):
        before = answer(url)
        workspace.promote(second)  # and it is killed in the swap
    with server_of(workspace.folder, "deploy") as (_, url):
        assert answer(url) != before
    assert workspace.champion == second.number and first.number != second.number


@pytest.mark.slow  # about eight minutes: a server for each kill
def test_a_kill_at_any_point_of_a_swap_leaves_a_champion_and_its_server(workspace: Workspace) -> None:
    """Killed is the promotion or the server, at some time between the command and the end of the swap."""
    generator, own, answers = random.Random(0), dict[int, str](), list[str]()
    for _ in range(50):
        champion = workspace.champion
        assert champion is not None
        with server_of(workspace.folder, "deploy") as (server, url):
            assert own.setdefault(champion, answer(url)) == answer(url)
            program = PROMOTING.format(number=3 - champion, champion=champion)
            promotion = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)})
            victim, end = generator.choice([promotion, server]), time.monotonic() + generator.uniform(0, 8)
            while time.monotonic() < end:
                answers.append(answer(url))
            victim.kill()
            promotion.wait()
        assert registry.verify("mine", workspace.folder) == []
        assert registry.history("mine", workspace.folder)[-1].version == workspace.champion
    assert own.keys() == {1, 2} and own[1] != own[2]
    assert set(answers) == set(own.values())  # nothing of version 3
