"""Rewards that compare an answer with a reference, a pattern or a schema."""

from typing import Any

import pytest

from components.config import Params
from components.errors import MartletError
from components.rewards import Reward, json_schema, numeric, regex, score
from tests.components.rewards.judged import given, sample


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("Paris", "paris.", 1),
        (" The  capital\nis Ｐaris。 ", "the capital is paris", 1),
        ("<think>London?</think> Paris", "Paris", 1),
        ("<answer>Paris</answer>", "Paris", 1),
        ("London", "Paris", 0),
        ("", "Paris", 0),
        ("...", "...", 1),
        ("2", 2, 1),
        ("x", None, None),
        ("x", "", None),
    ],
)
def test_exact_match(completion: str, reference: Any, expected: float | None) -> None:
    assert given("exact_match", sample(completion, answer=reference)) == [expected]


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("It is PARIS, of course.", "paris", 1),
        ("It is 15.", "5", 0),
        ("It is 5.", 5, 1),
        ("东京是首都", "东京", 1),
        ("Use C++ here", "c++", 1),
        ("<think>Paris?</think> Rome", "Paris", 0),
        ("Paris", "", None),
    ],
)
def test_contains(completion: str, reference: Any, expected: float | None) -> None:
    assert given("contains", sample(completion, answer=reference)) == [expected]


@pytest.mark.parametrize(
    ("completion", "columns", "expected"),
    [
        ("It is 1,234.5 in all.", {"answer": 1234.5}, 1),
        ("−3", {"answer": "-3"}, 1),
        ("first 2, then 4", {"answer": "4"}, 1),
        ("3.14", {"answer": "3.1416"}, 0),
        ("3.14", {"answer": "3.1416", "tolerance": 0.01}, 1),
        ("2e3", {"answer": "10 * 200 = 2000"}, 1),
        ("five", {"answer": "5"}, 0),
        ("5", {"answer": "five"}, None),
        ("5", {}, None),
    ],
)
def test_numeric(completion: str, columns: dict[str, Any], expected: float | None) -> None:
    assert given("numeric", sample(completion, **columns)) == [expected]


def test_overlap_of_words() -> None:
    pairs = [("the cat sat", "The cat sat!"), ("the cat", "the dog"), ("", "a b"), ("我 爱 你", "我爱你"), ("x", "")]
    samples = [sample(completion, solution=reference) for completion, reference in pairs]
    assert given("token_f1", *samples) == [1, 0.5, 0, 1, None]
    assert given("rouge", *samples) == [1, pytest.approx(0.5), 0, 1, None]
    bleu = given("bleu", *samples)
    assert bleu == [pytest.approx(1), bleu[1], 0, pytest.approx(1), None]
    assert 0.3 < (bleu[1] or 0) < 0.8


def test_rouge_is_of_the_longest_common_subsequence() -> None:
    # LCS of 3 words, 4 in the reference and 4 in the answer
    assert given("rouge", sample("police killed the gunman", answer="police kill the gunman")) == [0.75]
    assert given("rouge", sample("the gunman kill police", answer="police kill the gunman")) == [0.5]


@pytest.mark.parametrize(
    ("completion", "columns", "expected"),
    [
        ("ticket AB-123 is open", {"pattern": r"\b[A-Z]{2}-\d{3}\b"}, 1),
        ("ticket 123", {"pattern": r"\b[A-Z]{2}-\d{3}\b"}, 0),
        ("one\ntwo", {"answer": "one.two"}, 1),
        ("a" * 40 + "!", {"pattern": "^(a+)+$"}, 0),
        ("x", {}, None),
    ],
)
def test_regex(completion: str, columns: dict[str, Any], expected: float | None) -> None:
    assert given("regex", sample(completion, **columns)) == [expected]


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("completion", "schema", "expected"),
    [
        ('{"age": 3}', SCHEMA, 1),
        ('Here:\n```json\n{"age": 3}\n```', SCHEMA, 1),
        ('<think>{"age": 1}</think>{"age": 3}', '{"required": ["age"]}', 1),
        ('{"age": "3"}', SCHEMA, 0),
        ('{"age": 3', SCHEMA, 0),
        ("[" * 100_000, SCHEMA, 0),
        ("{}", None, None),
    ],
)
def test_json_schema(completion: str, schema: Any, expected: float | None) -> None:
    assert given("json_schema", sample(completion, schema=schema)) == [expected]


@pytest.mark.parametrize(
    ("reward", "columns", "reason"),
    [
        (numeric, {"answer": "1", "tolerance": -1}, "column tolerance: -1 is no number of at least 0"),
        (regex, {"pattern": "("}, "column pattern: '\\(' is no regular expression"),
        (json_schema, {"schema": {"type": "thing"}}, "column schema: 'thing' is not valid"),
        (json_schema, {"schema": {"$ref": "http://127.0.0.1:1/s.json"}}, "Unresolvable: http"),
    ],
)
def test_a_row_that_cannot_be_judged_is_an_error(reward: Any, columns: dict[str, Any], reason: str) -> None:
    judged = Reward("it", 1, lambda samples: reward.rewards(samples, Params()))
    with pytest.raises(MartletError, match=reason):
        score([judged], [sample('{"a": 1}', **columns)], 60)


def test_a_pattern_that_takes_too_long_is_an_error() -> None:
    judged = Reward("it", 1, lambda samples: regex.rewards(samples, Params()))
    with pytest.raises(MartletError, match="takes longer than 1 s on an answer"):
        score([judged], [sample("ab" * 60 + "!", pattern="^((ab)|(a)(b))+(ab|ba)*$")], 60)


CHOICES = ["Paris", "Rome", "Oslo", "a bee"]


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("B", "B", 1),
        ("(b)", "B", 0),
        ("B.", "B", 1),
        ("**B**", "B", 1),
        ("B. Rome", "B", 1),
        ("Rome", "B", 1),
        ("rome.", "Rome", 1),
        ("B", "Rome", 1),
        ("The answer is B.", "B", 1),
        ("answer: (B)", "B", 1),
        ("First I thought A, so the answer is C", "C", 1),
        ("\\boxed{B}", "B", 1),
        ("\\boxed{\\text{B}}", "B", 1),
        ("<think>A or B</think>C", "C", 1),
        ("B is right", "B", 1),
        ("A, B", "A", 0),
        ("A and B", "A", 0),
        ("A bee says buzz", "A", 0),
        ("none of them", "A", 0),
        ("", "A", 0),
        ("C", "B", 0),
        ("B", None, None),
    ],
)
def test_choice(completion: str, reference: Any, expected: float | None) -> None:
    assert given("choice", sample(completion, answer=reference, choices=CHOICES)) == [expected]
