"""Rewards are found, weighed, checked and added up."""

import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.config import Params
from components.errors import ConfigError, MartletError
from components.rewards import REWARDS, Reward, Scores, columns_of, rewards_of, score
from tests.components.rewards.judged import sample

PLUGINS = Path(__file__).parents[3] / "docs/plugins"
THREE = [sample("a"), sample("bb"), sample("ccc")]


def of(**settings: Any) -> Params:
    return Params.model_validate({"reward": settings})


def scored(function: Any, timeout_s: float = 20, name: str = "mine") -> Scores:
    return score([Reward(name, 1.0, function)], THREE, timeout_s)


def test_the_names_are_those_of_ms_swift_and_our_own() -> None:
    of_swift = "accuracy cosine format react_format repetition soft_overlong"
    ours = "bleu choice code contains exact_match json_schema judge judge_pair numeric regex rouge token_f1 tool_call"
    assert REWARDS.names() == sorted(f"{of_swift} {ours}".split())


def test_totals_are_weighted_and_none_counts_as_nothing() -> None:
    rewards = [
        Reward("length", 2.0, lambda samples: [len(s.completion) for s in samples]),
        Reward("some", -0.5, lambda _: [None, 1, True]),
    ]
    scores = score(rewards, THREE, 20)
    assert scores.totals == [2.0, 3.5, 5.5]
    assert scores.values == {"length": [1.0, 2.0, 3.0], "some": [None, 1.0, 1.0]}
    assert scores.errors == {"length": 0, "some": 0}


def test_no_samples_ask_nobody() -> None:
    assert score([Reward("mine", 1.0, lambda _: 1 / 0)], [], 1) == ([], {"mine": []}, {"mine": 0})
    assert score([], THREE, 1) == ([0.0, 0.0, 0.0], {}, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward_funcs": ["format"], "reward_weights": [1, 2]}, "reward_weights: 2 weights for 1 rewards"),
        ({"reward_weights": [1]}, "reward_weights: 1 weights for 0 rewards"),
        ({"reward_funcs": ["acuracy"]}, "reward_funcs: there is no reward 'acuracy' (did you mean 'accuracy'?)"),
        ({"reward_funcs": ["_scores"]}, "there is no reward '_scores'"),
        ({"reward_funcs": ["soft_overlong"]}, "soft_cache_length: the reward soft_overlong needs it"),
        ({"reward_funcs": ["soft_overlong"], "soft_cache_length": 512}, "512 is not below --soft_max_length"),
        ({"reward_funcs": ["judge"]}, "judge_base_url: the reward judge needs it"),
        ({"reward_funcs": ["judge"], "judge_base_url": "http://x/v1"}, "judge_model: the reward judge needs it"),
        ({"reward_funcs": ["judge"], "judge_base_url": "x/v1", "judge_model": "m"}, "is no http:// or https:// addr"),
        (
            {"reward_funcs": ["judge"], "judge_base_url": "http://x", "judge_model": "m", "judge_prompt": "Good?"},
            "judge_prompt: {completion}",
        ),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rewards_of(of(**settings), [])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_stand_in_the_order_of_the_names() -> None:
    rewards = rewards_of(of(reward_funcs=["format", "repetition"], reward_weights=[0.25, 4]), [])
    assert [(reward.name, reward.weight) for reward in rewards] == [("format", 0.25), ("repetition", 4.0)]
    assert [reward.weight for reward in rewards_of(of(reward_funcs=["format", "repetition"]), [])] == [1.0, 1.0]


def test_the_columns_that_rewards_read_are_known_before_anything_is_loaded() -> None:
    params = of(reward_funcs=["accuracy", "format", "code", "cites"])
    assert columns_of(params, [PLUGINS / "cites.py"]) == {
        "accuracy": ("solution", "answer"), "code": ("tests", "input_output", "test_cases"), "cites": ("sources",),
    }  # fmt: skip


def test_a_reward_of_ones_own() -> None:
    rewards = rewards_of(of(reward_funcs=["cites", "format"]), [PLUGINS / "cites.py"])
    samples = [sample("As [a] and [b] say.", sources=["a", "b"]), sample("[b]", sources=["a", "b"]), sample("[a]")]
    scores = score(rewards, samples, 20)
    assert scores.values == {"cites": [1.0, 0.5, None], "format": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "mine.py: not a complete reward: `rewards` missing"),
        ("def rewards(samples): ...", "mine.py: not a reward: `rewards` takes (samples, params)"),
        ("import nothing_of_this_name", "mine.py:1: ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_is_no_reward(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        rewards_of(of(reward_funcs=["mine"]), [tmp_path / "mine.py"])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([1.0], "not 1 numbers"),
        ([1.0] * 4, "not 4 numbers"),
        ([], "not 0 numbers"),
        (None, "not NoneType"),
        (1.0, "not float"),
        ("abc", "not str"),
        ({1: 1, 2: 2, 3: 3}, "not dict"),
        ((n for n in (1, 2, 3)), "not generator"),
        ([1, "2", 3], "not str"),
        ([1, [2], 3], "not list"),
        ([1, 2j, 3], "not complex"),
        (list(torch.ones(3)), "not Tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_a_number_for_each_is_refused_with_the_name_and_the_count(value: Any, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scored(lambda _: value)
    assert "reward_funcs: mine gives a list with a number or None for each of 3 answers" in str(caught.value)
    assert kind in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    assert scored(lambda _: np.array([1, 0, 0.5], np.float32)).values["mine"] == [1.0, 0.0, 0.5]
    assert scored(lambda _: (np.int64(1), 2, None)).values["mine"] == [1.0, 2.0, None]


def test_nan_and_infinity_are_errors_of_their_samples() -> None:
    scores = scored(lambda _: [math.nan, 1.0, -math.inf])
    assert (scores.values["mine"], scores.errors, scores.totals) == ([None, 1.0, None], {"mine": 2}, [0.0, 1.0, 0.0])


def test_a_batch_that_fails_is_judged_one_by_one() -> None:
    asked: list[int] = []

    def function(samples: list[Any]) -> list[float]:
        asked.append(len(samples))
        return [1 / (2 - len(s.completion)) for s in samples]

    scores = scored(function)
    assert asked == [3, 1, 1, 1]
    assert (scores.values["mine"], scores.errors) == ([1.0, None, -1.0], {"mine": 1})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("raise TimeoutError('slow')", "TimeoutError: slow"),
        ("return [float('nan')] * len(samples)", "it gave nan or inf"),
    ],
)
def test_a_reward_that_fails_on_every_sample_is_told_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(f"def rewards(samples, params):\n    {line}\n")
    rewards = rewards_of(of(reward_funcs=["mine"]), [tmp_path / "mine.py"])
    with pytest.raises(MartletError) as caught:
        score(rewards, THREE, 20)
    place = "" if "return" in line else f"external_plugins: {tmp_path}/mine.py:2: "
    assert str(caught.value) == f"reward_funcs: mine failed on all of 3 answers: {place}{reason}"


def test_an_error_of_a_function_that_is_no_plugin_is_told_with_its_line() -> None:
    with pytest.raises(MartletError, match=r"failed on all of 3 answers: .*test_scores\.py:\d+: ZeroDivisionError"):
        scored(lambda _: 1 / 0)


def test_a_users_mistake_is_not_tried_again() -> None:
    asked: list[int] = []

    def function(samples: list[Any]) -> list[float]:
        asked.append(len(samples))
        raise ConfigError("no key")

    with pytest.raises(ConfigError, match="no key"):
        scored(function)
    assert asked == [3]


def test_a_reward_that_takes_too_long_is_named_and_left_behind() -> None:
    release, start = threading.Event(), time.monotonic()
    with pytest.raises(ConfigError) as caught:
        scored(lambda _: release.wait(60), 0.2)
    assert time.monotonic() - start < 10
    assert "reward_funcs: mine took longer than 0.2 s for 3 answers; raise --reward_timeout" in str(caught.value)
    release.set()
