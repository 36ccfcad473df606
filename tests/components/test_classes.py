"""The classes of rows, and of a base that tells some already."""

from typing import Any

import pytest

from components.classes import REGRESSION, SEVERAL, SINGLE, Classes, classes_of, shown
from components.config.groups.classification import Classification
from components.errors import ConfigError

BASE = Classes(["pos", "neg", "odd"], SINGLE)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["neg", "pos", "odd"], BASE),
        (["neg", " pos "], BASE),
        ([1, 0, 2], BASE._replace(numbered=True)),
        (["x", "y"], Classes(["x", "y"], SINGLE)),
        ([0, 3, 3], Classes(["0", "1", "2", "3"], SINGLE)),
        ([["pos"], ["neg", "odd"]], Classes(["neg", "odd", "pos"], SEVERAL)),
        ([0.5, 1.5], Classes(["value"], REGRESSION)),
    ],
)
def test_a_base_keeps_its_head_for_the_classes_that_it_tells(labels: list[Any], expected: Classes) -> None:
    if expected.names == BASE.names:
        assert classes_of(labels, Classification(), BASE) == expected
    else:
        with pytest.raises(ConfigError, match=r"its head tells 3 classes \(pos, neg, odd\), and the rows have"):
            classes_of(labels, Classification(), BASE)
        assert classes_of(labels, Classification(ignore_mismatched_sizes=True), BASE) == expected


def test_numbers_of_named_classes_are_their_targets() -> None:
    assert [BASE._replace(numbered=True).target(label) for label in (2, "pos")] == [2, 0]
    with pytest.raises(ValueError, match="none of the classes"):
        BASE.target(2)
    fewer = classes_of(["neg", "pos"], Classification(ignore_mismatched_sizes=True), BASE)
    assert fewer.names == ["neg", "pos"]  # a new head, as asked for
    numbers = Classes(["value"], REGRESSION)
    assert classes_of([4.5], Classification(), numbers) == numbers


def test_a_terminal_gets_names_that_it_can_show() -> None:
    assert shown(["very good", "a\nb", "\x1b[31m"]) == r"very good, 'a\nb', '\x1b[31m'"
    assert shown([str(n) for n in range(2006)]).endswith("5 and 2,000 more")


def test_numbers_in_texts_are_estimated_only_if_asked_for() -> None:
    with pytest.raises(ConfigError, match="--problem_type regression"):
        classes_of(["3.5", "4"], Classification())
    regression = classes_of(["3.5", "4"], Classification(problem_type=REGRESSION))
    assert regression.target("3.5") == [3.5]
    with pytest.raises(ValueError, match="is no number"):
        regression.target("nan")
    assert classes_of(["3.5", "4"], Classification(problem_type=SINGLE)).names == ["3.5", "4"]
