"""What is kept of the answers to a prompt."""

import pytest

from components.config.groups.sample import Sample
from components.sampling import Candidate, Drawn, Prompt, Tally, choose, distinct

PROMPT = Prompt([{"role": "user", "content": "2 + 2?"}], {"solution": "4"}, {"channel": "sums"})


def drawn(text: str, is_truncated: bool = False) -> Drawn:
    return Drawn(text, {"role": "assistant", "content": text}, 3, is_truncated)


def judged(*scores: float, cut: int = -1) -> list[Candidate]:
    return [Candidate(drawn(f"a{n}", n == cut), n, 1, score, {"r": score}) for n, score in enumerate(scores)]


def answers(settings: Sample, candidates: list[Candidate]) -> list[str]:
    return [row["messages"][-1]["content"] for row in choose(PROMPT, candidates, settings, {}).rows]


def test_equal_answers_count_once_and_empty_ones_not_at_all() -> None:
    assert distinct([drawn(text) for text in ("b", " ", "a", "b", "")]) == {0: 2, 2: 1}


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (Sample(), ["a1", "a3", "a0"]),
        (Sample(n_best_to_keep=2), ["a1", "a3"]),
        (Sample(score_threshold=0.5), ["a1", "a3"]),
        (Sample(score_threshold=1), []),
        (Sample(num_return_sequences=4, easy_query_threshold=0.75), ["a1", "a3", "a0"]),
        (Sample(num_return_sequences=4, easy_query_threshold=0.7), []),
    ],
)
def test_the_best_answers_above_the_threshold(settings: Sample, kept: list[str]) -> None:
    assert answers(settings, judged(0.5, 1, 0, 1)) == kept


def test_an_answer_that_was_cut_off_is_no_good_one() -> None:
    assert answers(Sample(), judged(0.5, 1, cut=1)) == ["a0"]
    [pair] = choose(PROMPT, judged(0.5, -1, cut=1), Sample(sample_format="preference"), {}).rows
    assert pair["rejected"][0]["content"] == "a1"


def test_the_best_against_the_worst() -> None:
    settings = Sample(sample_format="preference")
    [pair] = choose(PROMPT, judged(0.5, 1, -0.5, 1), settings, {"seed": 42}).rows
    origin = pair.pop("sampled")
    assert pair == {
        "prompt": PROMPT.messages,
        "chosen": [{"role": "assistant", "content": "a1"}],
        "rejected": [{"role": "assistant", "content": "a2"}],
        "margin": 1.5,
        "channel": "sums",
    }
    assert origin["seed"] == 42
    assert origin["rejected"] == {
        "draw": 2, "times_drawn": 1, "score": -0.5, "rewards": {"r": -0.5}, "rank": 4, "of": 4
    }  # fmt: skip
    assert choose(PROMPT, judged(1, 1), settings, {}).rows == []


def test_earlier_answers_are_not_learned() -> None:
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, *PROMPT.messages]
    [row] = choose(Prompt(before, {}, {}), judged(1), Sample(), {}).rows
    assert [message.get("loss_scale") for message in row["messages"]] == [None, 0.0, None, None]


def test_figures_are_over_draws_and_prompts() -> None:
    tally = Tally()
    settings = Sample(num_return_sequences=4)
    twice = [
        Candidate(drawn("x"), 0, 3, 1.0, {"r": 1.0, "s": None}),
        Candidate(drawn("y"), 1, 1, 0.0, {"r": 0.0, "s": 2}),
    ]
    for candidates in (twice, judged(0)):
        tally.add(choose(PROMPT, candidates, settings, {}))
    figures = tally.figures()
    assert figures["rewards"] == {"r": 0.6, "s": 2.0}
    assert figures["mean_score"] == 0.6
    counts = {name: figures[name] for name in ("prompts", "answers", "distinct", "right", "kept")}
    assert counts == {"prompts": 2, "answers": 5, "distinct": 3, "right": 3, "kept": 1}
    assert (figures["without_difference"], figures["without_right"]) == (1, 1)
