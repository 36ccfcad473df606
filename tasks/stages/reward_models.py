"""Reward models as rewards: each rates a conversation with one number, by its own tokenizer and chat template."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components import models, rewards
from components.by_dataset import short_names
from components.classes import SEVERAL, Classes
from components.config import Params
from components.errors import ConfigError
from tasks.checkpoints import Target
from tasks.loading import classes_of, load, tokenizer_of
from tasks.prompts import prompts
from tasks.stages import beside
from tasks.stages.paths import plugin_files

FLAG = "reward_model"


def rewards_of(params: Params, workspace: Path, report: Callable[[str], None]) -> list[rewards.Reward]:
    """Return a reward for each of `--reward_model`, loaded onto the device of this process.

    `report` gets a line where a run stands for one of its checkpoints.

    Raises:
        ConfigError: one is no reward model, or there are more or fewer weights than rewards.
        MartletError: its weights cannot be loaded.
    """
    functions = params.reward.reward_funcs
    weights = rewards.weights_of(params)[len(functions) :]
    labels = short_names(params.reward.reward_model)
    judges: list[rewards.Reward] = []
    for name, label, weight in zip(params.reward.reward_model, labels, weights, strict=True):
        target = beside.find(name, FLAG, params, workspace, report)
        classes = _one_number(target, name)
        rate = partial(_ratings, _loaded(target, classes, plugin_files(params, workspace)))
        judges.append(rewards.Reward(f"{label}_model" if label in functions else label, weight, rate))
    return judges


def problems(params: Params, workspace: Path) -> list[str]:
    """Return a sentence for each reward model that cannot rate answers; one on a hub is looked at when it is loaded."""
    sentences: list[str] = []
    for name in params.reward.reward_model:
        try:
            if (workspace / Path(name).expanduser()).is_dir():
                _one_number(beside.find(name, FLAG, params, workspace, lambda _: None), name)
            else:
                models.require_name(name, workspace, FLAG)
        except ConfigError as error:
            sentences.append(str(error))
    return sentences


def _one_number(target: Target, name: str) -> Classes:
    """Return what the head of a reward model tells.

    Raises:
        ConfigError: it has no head, tells several classes, or reads no chat.
    """
    classes = classes_of(target.adapter or target.model) or models.classes_in(target.model)
    if classes is None:
        raise ConfigError(
            f"{FLAG}: {name} writes text, and has no head that rates it; train one with `martlet rlhf --rlhf_type rm`"
        )
    if len(classes.names) > 1 or classes.problem_type == SEVERAL:
        raise ConfigError(f"{FLAG}: {name} tells {classes.described()}, and a reward is one number; name another model")
    if not tokenizer_of(target.model, target.adapter).chat_template:
        raise ConfigError(f"{FLAG}: {name} has no chat template, by which it would read a conversation")
    return classes


def _loaded(target: Target, classes: Classes, files: list[Path]) -> Any:
    from components.inference.pooling import PoolingModel

    own = target.params
    model, tokenizer = load(
        target.model, target.adapter, None, None, own.quantization, files, placement={}
    )  # one copy for each process
    models.set_padding(model, tokenizer)
    length = models.context_length(target.model)
    return PoolingModel(model, tokenizer, classes, prompts(own.template)(tokenizer), length)


def _ratings(judge: Any, samples: Sequence[rewards.Sample]) -> list[float | None]:
    """Return what a reward model gives for each conversation of a prompt and its answer."""
    rows = [judge.rated([*sample.prompt, *sample.messages], sample.columns.get("tools")) for sample in samples]
    return [output[0] for output in judge.batched_outputs(rows)]
