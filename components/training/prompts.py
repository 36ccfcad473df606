"""The prompts of an optimizer step that learns from sampled answers."""

from collections.abc import Iterator
from typing import Any

import torch

from components.errors import ConfigError
from components.tokens import TokenRow
from components.training.job import Job, generations, group_problem


def prompts_per_step(job: Job) -> int:
    """Return how many prompts an optimizer step has.

    Raises:
        ConfigError: the answers of a step are no multiple of `num_generations`, or there are fewer prompts.
    """
    answers, group = job.items_per_step, generations(job.params)
    if problem := group_problem(answers, group):
        raise ConfigError(problem)
    if answers // group > len(job.rows):
        raise ConfigError(
            f"a step has {answers // group} prompts, and there are {len(job.rows)}; lower "
            "--gradient_accumulation_steps, or raise --num_generations"
        )
    return answers // group


class Generations:
    """Each row of a table of prompts several times: with its `number`, and which `generation` of answers it is for."""

    def __init__(self, rows: Any, generations: int) -> None:
        self.rows, self.generations = rows, generations

    def __len__(self) -> int:
        return len(self.rows) * self.generations

    def __getitem__(self, index: int) -> TokenRow:
        number, generation = divmod(index, self.generations)
        return self.rows[number] | {"number": number, "generation": generation}


class Groups:
    """A sampler of `Generations`: prompts in an order that depends on (seed, epoch) alone, all answers of a prompt one
    after the other, and all prompts of a step as often as steps learn from them. The last step is filled up with
    prompts from the beginning of the order."""

    def __init__(self, count: int, seed: int, prompts: int, generations: int, iterations: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.prompts, self.generations, self.iterations = prompts, generations, iterations

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; accelerate calls this before each pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.prompts) * self.prompts * self.generations * self.iterations

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        order += order[: -self.count % self.prompts]
        for start in range(0, len(order), self.prompts):
            items = [
                n * self.generations + g for n in order[start : start + self.prompts] for g in range(self.generations)
            ]
            for _ in range(self.iterations):
                yield from items
