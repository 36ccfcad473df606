"""Judging and promoting over a real registry. Weights are any bytes; answers are made by hand."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from components import registry
from components.config import Params, resolve
from components.config.load import read_mapping
from components.errors import ConfigError, EvaluationGateError, MartletError
from components.evaluation import write_report
from components.files import read_json, write_json
from components.registry.store import connected, writing
from tasks import promotion, promotion_process, versions
from tasks.stages import evaluate
from tasks.stages import register as stage
from tasks.stages.paths import Paths


@pytest.fixture(scope="session")
def store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(empty_store, tmp_path_factory.mktemp("promotion") / "workspace")


@pytest.fixture
def params(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return given(re.sub(r"\W+", "-", request.node.name))


def given(name: str, **more: Any) -> Params:
    return resolve(read_mapping({"registered_model_name": name, "report_to": "none", **more}, "test"))


@pytest.fixture
def paths(tmp_path: Path, store: Path) -> Iterator[Paths]:
    write_json(tmp_path / "data/model.json", {"model": "models/base", "source": "local", "sha256": "b" * 64})
    yield Paths(tmp_path, store)


def answers(right: int, of: int = 100, asked: str = "question") -> list[dict[str, Any]]:
    """The first `right` of the questions are answered well."""
    return [
        {"set": "skills", "item": n, "query": f"{asked} {n}", "reference": "yes", "answer_tokens": 2}
        | {"answer": "yes" if n < right else "no", "score": float(n < right)}
        for n in range(of)
    ]


def candidate(params: Params, paths: Paths, content: str, right: int, **variants: int) -> int:
    """Leave what the stages up to evaluate leave, and register it; returns the version."""
    write_report(paths.reports / "eval", "base", answers(10))
    for name, folder, score in [
        ("merged", paths.merged, right),
        *((variant, paths.quantized / variant, score) for variant, score in variants.items()),
    ]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").unlink(missing_ok=True)
        (folder / "model.safetensors").write_text(f"{params.registry.registered_model_name} {name} {content}")
        write_report(paths.reports / "eval", name, answers(score))
    return stage.run(params, paths)["versions"]["merged"]


def champion(params: Params, paths: Paths) -> int | None:
    found = registry.champion(params.registry.registered_model_name, paths.workspace)
    return found.number if found else None


def test_the_first_is_judged_against_the_base_and_promoted(params: Params, paths: Paths) -> None:
    number = candidate(params, paths, "a", right=90)
    verdict = promotion.judge(params, paths)
    assert verdict.promote and verdict.names == (f"version {number}", "the base model")
    assert champion(params, paths) is None
    entry = promotion.promote(params, paths)
    assert entry and (entry.version, entry.previous) == (number, None)
    assert "against the base model" in entry.why
    gate = read_json(paths.reports / "gate.json")
    assert (gate["decision"], gate["promoted"], gate["version"]) == ("promote", True, number)


def test_a_worse_one_is_refused_and_the_champion_stays(params: Params, paths: Paths) -> None:
    first = candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    worse = candidate(params, paths, "b", right=60)
    with pytest.raises(EvaluationGateError, match=f"version {worse} is not promoted: refuse: skills: 30 of 100 lost"):
        promotion.promote(params, paths)
    assert champion(params, paths) == first
    name = params.registry.registered_model_name
    assert registry.lookup(name, paths.workspace, number=worse).tags["gate"] == "refuse"


def test_force_overrules_the_gate_and_says_why(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    worse = candidate(params, paths, "b", right=60)
    entry = promotion.promote(params, paths, force=True, why="the questions are wrong")
    assert entry and (entry.version, entry.why) == (worse, "the questions are wrong")


def test_the_champion_has_nothing_to_be_promoted_to(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    assert candidate(params, paths, "a", right=90) == champion(params, paths)
    assert promotion.judge(params, paths).promote
    assert promotion.promote(params, paths) is None
    assert len(promotion.journal(params, paths)) == 1


def test_rollback_returns_to_the_former_champion(params: Params, paths: Paths) -> None:
    first = candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    second = candidate(params, paths, "b", right=95)
    promotion.promote(params, paths)
    assert champion(params, paths) == second
    assert promotion.rollback(params, paths, why="too chatty").version == first
    assert champion(params, paths) == first


def test_two_people_who_roll_back_the_same_champion_go_back_once(params: Params, paths: Paths) -> None:
    for name in ("a", "b", "c"):
        candidate(params, paths, name, right=90)
        promotion.promote(params, paths)
    with ThreadPoolExecutor(2) as people:
        with writing(paths.workspace):  # both have seen the champion before one of them may write
            moves = [people.submit(promotion.rollback, params, paths, why=who) for who in ("Ann", "Bob")]
            time.sleep(1)
        wait(moves)
    [error] = [move.exception() for move in moves if move.exception()]
    assert "is champion no longer: the champion is version 2" in str(error)
    assert champion(params, paths) == 2


def test_an_older_version_is_judged_by_its_number(params: Params, paths: Paths) -> None:
    first = candidate(params, paths, "a", right=90)
    candidate(params, paths, "b", right=95)
    promotion.promote(params, paths)
    assert promotion.judge(params, paths, number=first).names[0] == f"version {first}"
    with pytest.raises(MartletError, match="has no version 99"):
        promotion.promote(params, paths, number=99)


def test_variants_are_judged_against_merged_and_do_not_decide_about_it(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90, good=90, bad=40)
    assert promotion.judge(params, paths).promote
    variants = read_json(paths.reports / "gate.json")["variants"]
    assert {name: verdict["decision"] for name, verdict in variants.items()} == {"bad": "refuse", "good": "promote"}
    bad = registry.find(params.registry.registered_model_name, paths.workspace, variant="bad")
    assert bad
    assert (bad.tags["variant"], bad.tags["gate"], bad.tags["gate.against"]) == ("bad", "refuse", "merged")


def test_a_champion_that_was_asked_other_questions_is_asked_again(
    params: Params, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    name = params.registry.registered_model_name
    stored = registry.lookup(name, paths.workspace, number=first)
    write_report(stored.reports, "merged", answers(90, asked="an older question"))
    candidate(params, paths, "b", right=90)
    asked: list[Path] = []

    def ask_again(folder: Path, *_: Any, **__: Any) -> list[dict[str, Any]]:
        asked.append(folder)
        return answers(92)

    monkeypatch.setattr(evaluate, "evaluate_model", ask_again)
    verdict = promotion.judge(params, paths)
    assert asked == [stored.folder]
    assert (verdict.sets[0].baseline, verdict.sets[0].candidate) == (0.92, 0.9)
    promotion.judge(params, paths)
    assert len(asked) == 1  # the new answers are kept with the champion


def test_other_rules_need_another_verdict(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    candidate(params, paths, "b", right=89)
    assert promotion.judge(params, paths).promote
    strict = given(params.registry.registered_model_name, margin=0.001)
    with pytest.raises(EvaluationGateError, match="not enough evidence"):
        promotion.promote(strict, paths)


def delete_the_champions_version(params: Params, paths: Paths) -> None:
    with connected(paths.workspace) as client:
        client.delete_model_version(params.registry.registered_model_name, str(champion(params, paths)))


def remove_the_weights(params: Params, paths: Paths) -> None:
    now = registry.champion(params.registry.registered_model_name, paths.workspace)
    assert now
    shutil.rmtree(now.folder.parent)


@pytest.mark.parametrize("change", [delete_the_champions_version, remove_the_weights])
@pytest.mark.parametrize("command", ["run", "promote --force"])
def test_what_the_registry_has_lost_is_registered_again(
    params: Params, paths: Paths, change: Callable[[Params, Paths], None], command: str
) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    change(params, paths)
    if command == "run":
        verdict = promotion_process.gate(params, paths)
        assert verdict["promote"]
        if not verdict["settled"]:
            promotion_process.promote(params, paths, number=verdict["version"])
    else:
        promotion_process.promote(params, paths, force=True, why="it was champion")
    now = registry.champion(params.registry.registered_model_name, paths.workspace)
    assert now
    now.verify()


def test_another_store_gets_the_model_and_its_promotion(
    params: Params, paths: Paths, empty_store: Path, tmp_path: Path
) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    before = (paths.reports / "registration.json").read_bytes()
    elsewhere = Paths(paths.root, shutil.copytree(empty_store, tmp_path / "elsewhere"))  # as if all of mlruns were gone
    verdict = promotion_process.gate(params, elsewhere)
    assert (verdict["version"], verdict["promote"], verdict["settled"]) == (1, True, False)
    assert "version 1 is champion" in promotion_process.promote(params, elsewhere, number=1)["text"]
    assert promotion_process.gate(params, elsewhere)["settled"]
    assert (paths.reports / "registration.json").read_bytes() == before  # so that DVC sees no change


def test_what_was_lost_and_cannot_be_registered_again_says_what_to_do(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    delete_the_champions_version(params, paths)
    (paths.merged / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has lost the last candidate .* `martlet run` makes"):
        promotion.promote(params, paths, force=True)


def test_a_verdict_holds_for_its_candidate_champion_answers_and_rules(params: Params, paths: Paths) -> None:
    first = candidate(params, paths, "a", right=90)
    assert not promotion_process.gate(params, paths)["reused"]
    assert promotion_process.gate(params, paths)["reused"]
    promotion.promote(params, paths)
    verdict = promotion_process.gate(params, paths)
    assert (verdict["reused"], verdict["settled"], verdict["champion"]) == (True, True, first)
    second = candidate(params, paths, "b", right=92)
    assert not promotion_process.gate(params, paths)["settled"]
    promotion.promote(params, paths)
    promotion.rollback(params, paths)
    verdict = promotion_process.gate(params, paths)
    assert (verdict["version"], verdict["settled"], verdict["champion"]) == (second, True, first)
    day = promotion.journal(params, paths)[-1].time[:10]
    assert verdict["former"] == f"version 2 was promoted before and rolled back on {day}; version 1 stays champion"
    candidate(params, paths, "c", right=90)
    assert promotion_process.gate(params, paths)["promote"]
    candidate(params, paths, "c", right=40)  # the same weights answer other questions
    assert not promotion_process.gate(params, paths)["promote"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"versions": 3}', '{"versions": [{"candidate": 1}]}'])
def test_a_damaged_registration_or_verdict_is_a_sentence_or_judged_again(
    params: Params, paths: Paths, text: str
) -> None:
    candidate(params, paths, "a", right=90)
    promotion.judge(params, paths)
    (paths.reports / "gate.json").write_text(text)
    assert not promotion_process.gate(params, paths)["reused"]
    (paths.reports / "registration.json").write_text(text)
    with pytest.raises(ConfigError, match=r"registration\.json is damaged, .* `martlet run`"):
        promotion.promote(params, paths)


@pytest.mark.parametrize("name", ["merged.json", "merged.parquet", "base.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"garbage" * 100])
def test_damaged_answers_are_a_sentence_and_those_of_a_version_are_asked_again(
    params: Params, paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None
) -> None:
    number = candidate(params, paths, "a", right=90)
    version = registry.lookup(params.registry.registered_model_name, paths.workspace, number)
    monkeypatch.setattr(evaluate, "evaluate_model", lambda *_, **__: answers(80))

    def damage(file: Path) -> None:
        file.unlink()
        if content is not None:
            file.write_bytes(content)

    if name != "base.parquet":
        damage(version.reports / name)
        assert promotion.judge(params, paths).sets[0].candidate == 0.8
    if name != "merged.parquet":
        damage(paths.reports / "eval" / name)
        with pytest.raises(MartletError, match=rf"{name} is gone or damaged, .* `martlet run` asks again"):
            promotion.judge(params, paths)


def test_the_newest_candidate_is_that_of_any_work_tree(params: Params, paths: Paths, tmp_path: Path) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    tree = Paths(tmp_path / "tree", paths.workspace)
    write_json(tree.model, {"model": "models/base", "source": "local", "sha256": "b" * 64})
    newer = candidate(params, tree, "b", right=95)
    assert promotion.newest(params, paths).number == newer
    assert promotion.candidate(params, paths).number == champion(params, paths)


def test_nothing_registered_is_a_sentence(params: Params, paths: Paths) -> None:
    with pytest.raises(ConfigError, match="no candidate has been registered here yet"):
        promotion.judge(params, paths)


def test_questions_among_the_training_rows_close_the_gate_unless_max_leaked_allows_them(
    params: Params, paths: Paths
) -> None:
    candidate(params, paths, "a", right=90)
    leak = {"name": "leak", "action": "warn", "count": 3, "left_out": 0}
    write_json(paths.reports / "data.json", {"checks": [leak]})
    verdict = promotion.judge(params, paths)
    assert verdict.decision == "refuse" and "among the training rows: 3, at most 0 is allowed" in verdict.reason
    allowed = given(params.registry.registered_model_name, max_leaked=3)
    assert promotion.judge(allowed, paths).promote
    write_json(paths.reports / "data.json", {"checks": [leak | {"action": "drop"}]})
    assert promotion.judge(params, paths).promote


def heading(paths: Paths) -> tuple[str, str]:
    """The colour and the text of the heading of the gate's page."""
    found = re.search(r'<h1 class="(\w+)">(.*?)</h1>', (paths.reports / "gate.html").read_text())
    assert found
    return found[1], found[2]


def test_the_page_of_the_gate_says_what_was_decided_and_shows_candidate_champion_and_base(
    params: Params, paths: Paths
) -> None:
    first = candidate(params, paths, "a", right=90)
    promotion.judge(params, paths)
    assert heading(paths) == ("good", f"passed: version {first} may become champion")
    promotion.promote(params, paths)
    assert heading(paths) == ("good", f"promoted: version {first} is champion")
    second = candidate(params, paths, "b", right=88)
    promotion.judge(params, paths)
    assert heading(paths) == ("warn", f"not enough evidence: version {first} stays champion")
    candidate(params, paths, "c", right=40)
    promotion.judge(params, paths)
    assert heading(paths) == ("bad", f"refused: version {first} stays champion")
    promotion.promote(params, paths, number=second, force=True, why="we need it")
    number = candidate(params, paths, "d", right=95)
    promotion.judge(params, paths)
    page = (paths.reports / "gate.html").read_text()
    for text in (f"version {number} against champion version {second}", "the base model", '<td class="good">+7.0'):
        assert text in page


def test_a_loss_within_the_margin_is_no_gain_on_the_page_of_the_gate(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    candidate(params, paths, "b", right=89)
    assert promotion.judge(params, paths).promote
    page = (paths.reports / "gate.html").read_text()
    assert '<td class="">-1.0 <span class="soft">within the margin</span>' in page


def test_the_challenger_is_the_newest_candidate_unless_that_is_champion(params: Params, paths: Paths) -> None:
    name = params.registry.registered_model_name

    def challenger() -> list[int]:
        return [each.number for each in versions.listed(params, paths) if "challenger" in each.aliases]

    first = candidate(params, paths, "a", right=90, variant=90)
    assert challenger() == [first]
    promotion.promote(params, paths)
    assert challenger() == []
    with pytest.raises(MartletError, match=f"{name} has no challenger now: the newest candidate is champion"):
        versions.number_of("challenger", params, paths)
    second = candidate(params, paths, "b", right=95)
    promotion.promote(params, paths)
    promotion.rollback(params, paths)
    assert versions.number_of("challenger", params, paths) == second
    candidate(params, paths, "a", right=90)  # the same weights as before, which are champion
    assert challenger() == [second]


def test_refused_versions_are_removed_first_and_variants_are_compared_with_merged(params: Params, paths: Paths) -> None:
    candidate(params, paths, "a", right=90)
    promotion.promote(params, paths)
    good = candidate(params, paths, "b", right=91)
    promotion.judge(params, paths)
    for content in ("c", "d"):
        candidate(params, paths, content, right=40, good=40, bad=0)
        promotion.judge(params, paths)
    worst = versions.removable(1, params, paths)
    assert good not in [listing.number for listing in worst]
    assert [listing.number for listing in worst if listing.variant == "merged"] == [good + 1]
    decisions = {listing.variant: versions.decision(listing) for listing in versions.listed(params, paths)}
    assert decisions == {"merged": "refuse", "good": "as good as merged", "bad": "worse than merged"}
    freed = versions.freed_bytes(worst, paths)
    assert 0 < freed < sum(file.stat().st_size for one in worst for file in one.folder.parent.rglob("*"))  # type: ignore[union-attr]


def test_folders_of_the_lineage_that_are_gone_are_not_shown(params: Params, paths: Paths) -> None:
    number = candidate(params, paths, "a", right=90)
    version = registry.lookup(params.registry.registered_model_name, paths.workspace, number)
    lineage = {"martlet.adapter": str(paths.root / "gone"), "martlet.merged": str(paths.merged), "params": {}}
    registry.annotate(version, paths.workspace, {"lineage": json.dumps(lineage)})
    shown = versions.facts(str(number), params, paths)["lineage"]
    assert "martlet.adapter" not in shown and shown["martlet.merged"] == str(paths.merged)
