"""The page of an evaluation, whose script runs in a browser where there is one."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.config.groups.gate import Gate
from components.evaluation import comparisons, decide, write_page
from tests.components.evaluation.test_gate import records

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def rendered(page: Path) -> str:
    """The page after its script."""
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    ended = subprocess.run([*words, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60)
    return ended.stdout


def one(answer: str, score: float) -> list[dict[str, Any]]:
    return [{**records([score])[0], "answer": answer}]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no browser")
@pytest.mark.parametrize(
    ("scores", "tags"), [((0.0, 1.0), ("del", "ins")), ((1.0, 0.0), ("ins", "del")), ((1.0, 1.0), ("mark", "mark"))]
)
def test_what_only_the_better_answer_has_is_green(
    scores: tuple[float, float], tags: tuple[str, str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    write_page(page, {"new": one("it is Rome", scores[0]), "old": one("it is Paris", scores[1])})
    html = rendered(page)
    assert f"<{tags[0]}>Rome</{tags[0]}>" in html and f"<{tags[1]}>Paris</{tags[1]}>" in html


def test_a_number_has_the_colour_of_its_verdict_under_the_gate_of_the_run(tmp_path: Path) -> None:
    answers = {"new": records([0.0] * 3 + [1.0] * 97), "old": records([1.0] * 100)}
    page = tmp_path / "page.html"

    def cell(gate: Gate) -> str:
        write_page(page, answers, comparisons(answers, gate))
        found = re.search(r'<td class="(\w*)">-3\.0(?: <span class="soft">(.*?)</span>)?</td>', page.read_text())
        assert found
        return f"{found[1]}{found[2] or ''}"

    assert cell(Gate()) == "warn"
    assert cell(Gate(margin=0.1, margins={"a set that is not here": 0.01})) == "within the margin"


def test_the_first_promotion_names_the_sets_that_lost_and_the_corrected_bound() -> None:
    candidate = [*records([1.0] * 100, "identity"), *records([0.0] * 2 + [1.0] * 98, "skills")]
    base = [*records([0.0] * 100, "identity"), *records([1.0] * 100, "skills")]
    verdict = decide(candidate, base, Gate(margin=0.1), ("version 1", "the base model"), must_gain=True)
    assert verdict.promote
    assert re.fullmatch(
        r"better than the base model on identity, by at least 9\d\.\d points \(97\.5% confidence, corrected for 2 "
        r"sets\); skills -2\.0 points, within the margin",
        verdict.reason,
    )
