"""A training job: all that a run is given."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.config.groups.train import Train
from components.errors import ConfigError
from components.media import MediaProcessor
from components.tokens import pad_token_id
from components.training import ranks
from components.training.best import Measure, measure
from components.training.rollouts import Rollouts
from components.training.world import data_parallel_size, settled_world, world_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BETAS, DEFAULT_BETA = {"simpo": 2.0, "grpo": 0.04, "rloo": 0.05, "gkd": 0.5}, 0.1
"""Beta of a method, by its name, and of others."""
GENERATIONS, DEFAULT_GENERATIONS = {"ppo": 1}, 8
"""Answers to a prompt, by the name of a method, and of others."""
DEFAULT_TEMPERATURE = 0.9
ROWS_PER_STEP = 16
"""Rows, or packs of rows, in an optimizer step where the accumulation is not set."""


def transformers_model(model: Any) -> Any:
    """Return the transformers model below peft's adapter, or `model` itself where it has none of peft's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


Report = Callable[[dict[str, Any]], None]


@dataclass
class Job:
    """What a training run is given.

    Attributes:
        params: every parameter, those of `train` settled.
        model: with its tuner.
        tokenizer: of the model.
        rows: the dataset that is trained on (`TokenRows`, `Packs` or `Stream`).
        val_rows: the rows of the evaluations, or None.
        checkpoints: the folder of the checkpoints.
        logs: the folder of what trackers beside MLflow write.
        save: writes the trained weights into a folder, in the tuner's format: `save(model, folder)`, or
            `save(model, folder, weights=…)` with those that are divided among processes (`DividedWeights`).
        restore: reads such a folder back into the model.
        arguments: what args.json of each checkpoint says.
        report: takes one line of progress.
        made_of: all that decides the weights, by name; each checkpoint is sealed with it.
        start: the checkpoint to go on from, or None.
        external: the user's plugin files.
        initialise: sets the tuner's first values by a sample of the rows, where it has such.
        tuner_step: is called with the model, the number of each optimizer step and how many there are.
        penalty: returns what of the model is added to the loss of each step.
        processor: the model's, where rows have media.
        rollouts: samples and judges answers, for the methods that learn from prompts.
        teacher: the model that is learned from; `teacher_rollouts` samples its answers, where a method asks for them.
        reference: loads another reference model than the one that is trained as it begins.
        reference_of: what decides the log probabilities of a reference model, by name, under which later runs find
            these; None where they are kept for this run alone.
        peak_flops: operations per second that the accelerator can do in the model's precision, or None.
        stop: set when the run is to end after the current step, with a checkpoint.
    """

    params: Params
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    rows: Any
    val_rows: Any
    checkpoints: Path
    save: Callable[..., None]
    restore: Callable[[Any, Path], None]
    arguments: dict[str, Any]
    report: Report
    logs: Path = Path("logs")
    made_of: dict[str, Any] = field(default_factory=dict)
    start: Path | None = None
    external: list[Path] = field(default_factory=list)
    initialise: Callable[[Any, list[dict[str, Any]]], None] | None = None
    tuner_step: Callable[[Any, int, int], None] | None = None
    penalty: Callable[[Any], Any] | None = None
    processor: MediaProcessor | None = None
    rollouts: Rollouts | None = None
    teacher: Any = None
    teacher_rollouts: Rollouts | None = None
    reference: Callable[[], Any] | None = None
    reference_of: dict[str, Any] | None = None
    peak_flops: float | None = None
    stop: Event = field(default_factory=Event)

    @property
    def train(self) -> Train:
        """The parameters of training."""
        return self.params.train

    @property
    def beta(self) -> float:
        """How strongly the method of alignment holds the model to the reference, by default the method's own."""
        beta = self.params.preference.beta
        return BETAS.get(self.params.method.name, DEFAULT_BETA) if beta is None else beta

    @property
    def measure(self) -> Measure:
        """By what checkpoints are compared."""
        return measure(self.train.metric_for_best_model, self.train.greater_is_better)

    @property
    def data_parallel_size(self) -> int:
        """Processes, or groups of processes that divide rows, that take other rows than each other."""
        return ranks.world_size() // self.params.distributed.sequence_parallel_size

    @property
    def data_parallel_rank(self) -> int:
        """Number of this process, or of its group, among those that take other rows than each other, from 0."""
        return ranks.rank() // self.params.distributed.sequence_parallel_size

    @property
    def part(self) -> int:
        """Number of this process's part of the tokens of a row, from 0."""
        return ranks.rank() % self.params.distributed.sequence_parallel_size

    @property
    def accumulation(self) -> int:
        """Forward passes of each process in an optimizer step; `gradient_accumulation_steps` are those of all rows."""
        return (self.train.gradient_accumulation_steps or 1) // self.data_parallel_size

    @property
    def items_per_step(self) -> int:
        """Rows, or packs, that all processes together learn from in an optimizer step."""
        return self.train.per_device_train_batch_size * (self.train.gradient_accumulation_steps or 1)

    @property
    def rows_per_evaluation(self) -> int:
        """Rows in a forward pass without a gradient: no fewer than in one with a gradient."""
        return max(self.train.per_device_eval_batch_size, self.train.per_device_train_batch_size)

    @property
    def pad_token_id(self) -> int:
        """The token to pad with."""
        return pad_token_id(self.tokenizer)


def temperature(params: Params) -> float:
    """Return the temperature at which answers are sampled while a model is trained, by default ms-swift's."""
    chosen = params.generation.temperature
    return DEFAULT_TEMPERATURE if chosen is None else chosen


def generations(params: Params) -> int:
    """Return how many answers to each prompt are sampled while a model is trained."""
    return params.rollout.num_generations or GENERATIONS.get(params.method.name, DEFAULT_GENERATIONS)


def iterations(params: Params) -> int:
    """Return how many optimizer steps learn from the same sampled answers."""
    return params.ppo.num_ppo_epochs if params.method.name == "ppo" else params.rollout.num_iterations


def group_problem(answers: int, generations: int) -> str | None:
    """Return what is wrong if an optimizer step of so many answers has no whole groups of `generations`."""
    if answers % generations == 0:
        return None
    nearest = max(1, round(answers / generations)) * generations
    return (
        f"num_generations: a step has {answers} answers (--per_device_train_batch_size times "
        f"--gradient_accumulation_steps), which is no multiple of {generations}; the nearest is {nearest}"
    )


def settled(params: Params, default_learning_rate: float) -> Params:
    """Return `params` with the parameters that depend on others filled in: the tuner's learning rate, the processes and
    machines, the accumulation, the steps between evaluations, the length of packs, which is `max_length`, and lines of
    one row each for NEFTune, whose noise depends on the length of a line, and where processes divide rows.

    Raises:
        ConfigError: the processes do not divide into groups that share rows, or the passes of a step among these.
    """
    distributed = settled_world(params.distributed)
    params = params.model_copy(update={"distributed": distributed})
    train, parts, groups = params.train, distributed.sequence_parallel_size, _groups(params)
    passes = train.gradient_accumulation_steps
    per_pass = train.per_device_train_batch_size * groups
    values = {
        "learning_rate": train.learning_rate or default_learning_rate,
        "gradient_accumulation_steps": passes or math.ceil(ROWS_PER_STEP / per_pass) * groups,
        "eval_steps": train.eval_steps or train.save_steps,
        "padding_free": False if train.neftune_noise_alpha or parts > 1 else train.padding_free,
        "packing_length": train.packing_length or (params.template.max_length if train.packing else None),
    }
    return params.model_copy(update={"train": train.model_copy(update=values)})


def _groups(params: Params) -> int:
    """Return how many processes, or groups of processes that divide rows, share the passes of a step.

    Raises:
        ConfigError: the processes do not divide into such groups, or the passes among these.
    """
    processes, parts = world_size(params), params.distributed.sequence_parallel_size
    if processes % parts:
        raise ConfigError(
            f"sequence_parallel_size: {parts} processes divide a row, and {processes} (--nproc_per_node, --nnodes) do "
            f"not make groups of {parts}; use --nproc_per_node {parts}"
        )
    groups, passes = data_parallel_size(params), params.train.gradient_accumulation_steps
    if passes and passes % groups:
        who = f"{groups} processes" if parts == 1 else f"{groups} groups of {parts} processes"
        nearest = max(1, round(passes / groups)) * groups
        raise ConfigError(
            f"gradient_accumulation_steps: {passes} passes do not divide among {who} (--nproc_per_node, --nnodes); the "
            f"nearest number that does is {nearest}"
        )
    return groups
