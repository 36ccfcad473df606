"""`martlet rlhf` on pairs and judged answers as people have them: what is learned, left out, and refused."""

from pathlib import Path
from typing import Any

import pytest

from components.files import read_json
from components.tokens import TokenRows
from tests.apps.test_plugins import write_rows
from tests.commands import Command, martlet

SHORT = ["--max_steps", 1, "--report_to", "none", "--add_version", "false", "--output_dir", "run"]


def pair(prompt: str, chosen: Any = "a good answer", rejected: Any = "bad") -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def judged(label: bool, count: int) -> list[dict[str, object]]:
    return [{"prompt": f"{n} {label}?", "completion": f"answer {n}", "label": label} for n in range(count)]


def talk(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


LONG = "so far, "
ROWS: list[dict[str, Any]] = [
    pair("1?"),
    pair("2?", "", "bad"),
    pair("3?", "good", " \u200b"),
    pair("4?", "the same", "the same"),
    {"chosen": talk("5?", "good"), "rejected": talk("5?", "bad")},
    {"chosen": talk("6?", "good"), "rejected": talk("another?", "bad")},
    pair("7?", "good", None),
    pair(LONG * 40 + "8?", "good", "bad"),
    pair("9?", LONG * 40 + "good", LONG * 40 + "bad"),
]
GATE = {2: "the answer is empty", 3: "the answer is empty", 6: "do not begin with the same question"}
TEMPLATE = {4: "chosen and rejected are the same tokens", 7: "its rows have prompt, chosen and rejected",
            8: "longer than max_length", 9: "longer than max_length"}  # fmt: skip


@pytest.mark.parametrize("strategy", ["delete", "left"])
def test_pairs_that_are_none_are_named_and_long_ones_cut_before_their_answers(
    strategy: str, tiny_model: Path, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", ROWS)
    words = ["--on_schema", "drop", "--max_dropped", 1, "--max_length", 64, "--truncation_strategy", strategy]
    martlet(tmp_path, "rlhf", "--model", tiny_model, "--dataset", data, *words, *SHORT)
    tokens = tmp_path / "run/data/tokens"
    reports = [
        read_json(tmp_path / "run/reports/data.json")["rejected"],
        read_json(tokens / "template.json")["refused"],
    ]
    left_out = [{entry["row"]: entry["reason"] for entry in report} for report in reports]
    for reasons, expected in zip(left_out, (GATE, TEMPLATE), strict=True):
        assert reasons.keys() == expected.keys() - ({8} if strategy == "left" else {})
        assert all(expected[row] in reason for row, reason in reasons.items())
    rows = TokenRows(tokens / "train.arrow")
    by_number = {int(rows.origin(n).rpartition(" ")[2]): rows[n] for n in range(len(rows))}
    assert sorted(by_number) == ([1, 5] if strategy == "delete" else [1, 5, 8])
    for name, ids in by_number.get(8, {}).items():
        if name in ("chosen_ids", "rejected_ids"):
            assert ids.tolist() == by_number[5][name].tolist()  # the same answers, whole
    if strategy == "left":
        row = by_number[8]
        assert max(len(row["prompt_ids"]) + len(row[f"{name}_ids"]) for name in ("chosen", "rejected")) == 64
        assert row["prompt_ids"].tolist()[-5:] == by_number[5]["prompt_ids"].tolist()[-5:]


def test_data_of_another_method_is_answered_by_the_command_that_learns_it(tiny_model: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", [pair(f"{n}?") for n in range(9)])
    error = martlet(tmp_path, "rlhf", "--rlhf_type", "kto", "--model", tiny_model, "--dataset", data, *SHORT, code=3)
    assert "`martlet rlhf --rlhf_type dpo` learns from it; its rows have prompt, completion and label" in error
    data = write_rows(tmp_path / "chats.jsonl", [{"query": f"{n}?", "response": "yes"} for n in range(9)])
    error = martlet(tmp_path, "rlhf", "--rlhf_type", "rm", "--model", tiny_model, "--dataset", data, *SHORT, code=3)
    assert "`martlet sft` learns from it; its rows have prompt, chosen and rejected" in error


def test_judged_answers_are_of_both_kinds_and_weigh_the_same(tiny_model: Path, tmp_path: Path) -> None:

    def line(*flags: object) -> str:
        """What is said of the balance."""
        printed = Command(tmp_path, *words, data, *flags, "--output_dir", f"run{flags}").wait().stdout
        return "".join(line for line in printed.splitlines() if line.startswith("balance"))

    words = ["rlhf", "--rlhf_type", "kto", "--model", tiny_model, *SHORT[:-2], "--dataset"]
    for label, end in ((True, "label false, or learn the answers by `martlet sft`"), (False, "label true\n")):
        data = write_rows(tmp_path / "one.jsonl", judged(label, 6))
        error = martlet(tmp_path, *words, data, code=2)
        assert f"label: all 6 training rows have {'good' if label else 'bad'} answers, and kto learns" in error
        assert end in error
    data = write_rows(tmp_path / "both.jsonl", judged(True, 9) + judged(False, 3))
    assert line() == (
        "balance: 9 good and 3 bad answers weigh 3.00 to 1, and KTO's authors advise 1 to 1 up to 4 to 3; "
        "--undesirable_weight 2.25 to 3 gives that"
    )
    assert line("--undesirable_weight", 3) == ""
    assert line("--undesirable_weight", 6).endswith(
        "weigh 0.50 to 1, and KTO's authors advise 1 to 1 up to 4 to 3; --desirable_weight 2 to 2.67 gives that"
    )
