"""Reinforcement learning: answers that the model samples, judged by rewards."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.errors import ConfigError
from components.figures import is_reported
from components.tokens import TokenRow
from components.training import advantages, ranks
from components.training import experience as experiences
from components.training.cross_entropy import cross_entropy, entropies
from components.training.forward import learned_logits
from components.training.isolation import collator
from components.training.job import Job, group_problem, temperature
from components.training.methods._answer_trainer import AnswerTrainer
from components.training.policy_losses import PolicyTokens
from components.training.rollouts import Judgement, Sampled
from components.training.start_weights import StartWeights

FILE = "rollouts-{}.safetensors"
"""In a checkpoint, the answers that the next step of a process still learns from."""
SHOWN = 4
"""Answers of a step that are shown as texts."""


class PolicyTrainer(AnswerTrainer):
    """Before an optimizer step (every `num_iterations` of them), the model answers the step's prompts `num_generations`
    times each; the rewards become advantages, and the step makes good answers likelier.

    A batch counts answers, as in TRL and ms-swift. Seeds of answers follow from the run's seed, the step, the prompt
    and the number of the answer, so that a run goes on exactly.
    """

    def __init__(self, job: Job, leaves_one_out: bool = False) -> None:
        self.settings, self.leaves_one_out = job.params.rollout, leaves_one_out
        self.generations, self.iterations = self.settings.num_generations, self.settings.num_iterations
        self.prompts = prompts_per_step(job)
        self.collate = collator(job)
        self.reference = StartWeights(job) if job.beta else None
        self.experience: list[experiences.Batch] = []
        self.temperature = temperature(job.params)
        super().__init__(job, list)
        [self.loss] = self.loss_methods.values()

    @property
    def rollouts(self) -> Any:
        assert self.job.rollouts
        return self.job.rollouts

    def dataset(self) -> Any:
        """Return each prompt `num_generations` times."""
        return Generations(self.job.rows, self.generations)

    def _order(self) -> Any:
        return Groups(len(self.job.rows), self.job.train.seed, self.prompts, self.generations, self.iterations)

    def items_of(self, step: int) -> list[int]:
        """Return the numbers of the prompts of a step."""
        order, size = self._order(), self.prompts * self.generations
        epoch, place = divmod(step - 1, len(order) // size)
        order.set_epoch(epoch)
        return sorted({item // self.generations for item in islice(order, place * size, (place + 1) * size)})

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Return the tensors of the forward passes of an optimizer step, and what the sum of losses is divided by."""
        parts = list(islice(epoch_iterator, num_batches))
        if not parts:
            return [], None
        if self.state.global_step % self.iterations == 0 or not self.experience:
            self.experience = self._sampled([row for part in parts for row in part], [len(part) for part in parts])
        count = sum(self._count(part) for part in self.experience)
        total = ranks.total([count])[0]
        return [dict(part) for part in self.experience], torch.tensor(total, device=device)

    def _count(self, part: experiences.Batch) -> int:
        name = "labels" if self.loss.DIVISOR == "answers" else "token_labels"
        return int((part[name][:, 1:] >= 0).sum())

    def _sampled(self, rows: list[TokenRow], sizes: list[int]) -> list[experiences.Batch]:
        """Return what a step learns from: answers to `rows`, judged, in forward passes over `sizes` of them."""
        number = self.state.global_step // self.iterations
        seeds = [_seed(self.job.train.seed, number, row["number"], row["generation"]) for row in rows]
        model = self.job.model
        answers = self.rollouts.sample(model, rows, seeds)
        judgement = self.rollouts.judge(rows, answers)
        learned = [not (self.settings.overlong_filter and answer.is_truncated) for answer in answers]
        parts = experiences.batches(self.collate, rows, answers, learned, sizes)
        self._add_log_probs(parts)
        values = self._advantages(rows, judgement, parts)
        for part, own in zip(parts, np.split(values, np.cumsum(sizes)[:-1]), strict=True):
            part["advantages"] = torch.tensor(own, dtype=torch.float32)
        self._tell(rows, answers, judgement, values)
        return parts

    def _add_log_probs(self, parts: list[experiences.Batch]) -> None:
        """Add the log probabilities of the tokens by the reference model, and where several steps learn from the same
        answers by the model that sampled them."""
        model: Any = self.job.model
        was_training = model.training
        model.eval()
        for part in parts:
            inputs = self._prepare_inputs(part)
            if self.iterations > 1:
                with torch.no_grad():
                    part["old"] = self._log_probs(model, inputs)[0].cpu()
            if self.reference:
                with self.reference.applied():
                    part["reference"] = self._log_probs(model, inputs)[0].cpu()
        model.train(was_training)

    def _log_probs(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any]:
        """Return the log probability, the owner and the logits of each learned token, and the model's outputs."""
        names = ("input_ids", "attention_mask", "position_ids", "owners")
        batch = {name: inputs[name] for name in names if name in inputs}
        logits, tokens, outputs = learned_logits(model, {**batch, "labels": inputs["token_labels"]})
        logits = logits if self.temperature == 1 else logits / self.temperature
        return -cross_entropy(logits, tokens["labels"]), tokens["owners"], logits.detach(), outputs

    def _advantages(self, rows: list[TokenRow], judgement: Judgement, parts: list[experiences.Batch]) -> np.ndarray:
        """Return the advantage of each answer of this process; a prompt's answers may be of several processes."""
        totals = np.asarray(judgement.totals)
        if self.leaves_one_out and self.reference:  # the distance to the reference model is part of the reward
            distances = [_distances(self._prepare_inputs(part), self) for part in parts]
            totals = totals - self.job.beta * np.concatenate(distances)
        own = [(row["number"], float(total)) for row, total in zip(rows, totals, strict=True)]
        groups, rewards = zip(*ranks.gathered(own), strict=True)
        place = sum(ranks.gathered([len(own)])[: ranks.rank()])
        if self.leaves_one_out:
            values = advantages.leave_one_out(rewards, groups)
        else:
            values = advantages.of_groups(rewards, groups, self.settings.scale_rewards)
        self.means[True].add("frac_reward_zero_std", torch.tensor([advantages.equal_groups(rewards, groups)]))
        return values[place : place + len(own)]

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the weighted losses of the tokens of a batch, and the model's outputs."""
        log_probs, owners, logits, outputs = self._log_probs(model, inputs)
        counts = torch.bincount(owners, minlength=len(inputs["labels"])).clamp(min=1)
        lengths = counts[owners].to(log_probs.dtype)
        log_ratios = log_probs - inputs.get("old", log_probs.detach()).to(log_probs.device)
        means = log_probs.new_zeros(len(counts)).index_add(0, owners, log_ratios / lengths)
        is_sequence = self.settings.importance_sampling_level == "sequence"
        ratios = (means[owners] if is_sequence else log_ratios).exp()
        tokens = PolicyTokens(log_probs, ratios, log_ratios, inputs["advantages"][owners], lengths, owners)
        losses = self.loss.losses(tokens, self.job.params)
        if "reference" in inputs:
            difference = inputs["reference"].to(log_probs.device) - log_probs
            distances = difference.exp() - difference - 1  # Schulman's estimate (k3), never below 0
            self.means[True].add("kl", distances)
            if not self.leaves_one_out:
                losses = losses + self.job.beta * distances
        self._note(tokens, logits)
        return (losses * self.loss.weights(lengths, self.job.params)).sum(), outputs

    @torch.no_grad()
    def _note(self, tokens: PolicyTokens, logits: torch.Tensor) -> None:
        settings, means = self.settings, self.means[True]
        high = settings.epsilon if settings.epsilon_high is None else settings.epsilon_high
        is_clipped = ((tokens.ratios < 1 - settings.epsilon) & (tokens.advantages < 0)) | (
            (tokens.ratios > 1 + high) & (tokens.advantages > 0)
        )
        means.add("clip_ratio", is_clipped.float())
        means.add("ratio", tokens.ratios)
        means.add("entropy", entropies(logits))

    def _tell(self, rows: list[TokenRow], answers: list[Sampled], judgement: Judgement, values: np.ndarray) -> None:
        """Add the figures of sampled answers, and report some of them as texts."""
        means = self.means[True]
        means.add("reward", torch.tensor(judgement.totals))
        means.add("reward_std", torch.tensor([np.std(judgement.totals)]))
        means.add("completions/mean_length", torch.tensor([float(len(answer.ids)) for answer in answers]))
        means.add("completions/clipped_ratio", torch.tensor([float(answer.is_truncated) for answer in answers]))
        for name, of_answers in judgement.values.items():
            means.add(f"rewards/{name}/mean", torch.tensor([value for value in of_answers if value is not None]))
        step, every = self.state.global_step + 1, self.job.train.logging_steps
        if not ranks.is_writer() or not is_reported(step, every, self.state.max_steps):
            return
        shown = [
            {
                "prompt": self.job.tokenizer.decode(rows[n]["prompt_ids"]),
                "completion": answers[n].text,
                "rewards": {name: of_answers[n] for name, of_answers in judgement.values.items()},
                "reward": judgement.totals[n],
                "advantage": round(float(values[n]), 4),
            }
            for n in range(min(SHOWN, len(rows)))
        ]
        self.job.report({"step": step, "rollouts": shown})
        if failed := {name: count for name, count in judgement.errors.items() if count}:
            words = ", ".join(f"{name} on {count}" for name, count in failed.items())
            self.job.report({"message": f"step {step}: rewards failed: {words} of {len(rows)} answers"})

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        """Return the mean reward of an answer to each validation prompt, of all rewards and of each; `eval_loss` is
        minus that, so that the least is the best."""
        rows = self.job.val_rows
        own = [rows[i] for i in range(ranks.rank(), len(rows), ranks.world_size())]
        seeds = [_seed(self.job.train.seed, -1, i, 0) for i in range(ranks.rank(), len(rows), ranks.world_size())]
        means = self.means[False]
        answers = self.rollouts.sample(self.job.model, own, seeds)
        judgement = self.rollouts.judge(own, answers)
        means.add("reward", torch.tensor(judgement.totals))
        for name, values in judgement.values.items():
            means.add(f"rewards/{name}/mean", torch.tensor([value for value in values if value is not None]))
        means.add("completions/mean_length", torch.tensor([float(len(answer.ids)) for answer in answers]))
        metrics = means.take("eval_")
        metrics = {"eval_loss": -metrics["eval_reward"], **metrics}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights, and the answers that the next step still learns from."""
        super().save_model(output_dir, _internal_call)
        if self.state.global_step % self.iterations:
            experiences.write(Path(str(output_dir)) / FILE.format(ranks.rank()), self.experience)
        ranks.barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / FILE.format(ranks.rank())
        self.experience = experiences.read(file) if file.is_file() else []


@torch.no_grad()
def _distances(inputs: dict[str, Any], trainer: PolicyTrainer) -> np.ndarray:
    """Return by how much the model finds each answer likelier than the reference model does [answers], in nats."""
    model: Any = trainer.job.model
    was_training = model.training
    model.eval()
    log_probs, owners = trainer._log_probs(model, inputs)[:2]
    model.train(was_training)
    difference = log_probs - inputs["reference"].to(log_probs.device)
    return log_probs.new_zeros(len(inputs["labels"])).index_add(0, owners, difference).cpu().double().numpy()


def _seed(seed: int, step: int, prompt: int, generation: int) -> int:
    return random.Random(f"{seed} {step} {prompt} {generation}").getrandbits(62)


def prompts_per_step(job: Job) -> int:
    """Return how many prompts an optimizer step has.

    Raises:
        ConfigError: the answers of a step are no multiple of `num_generations`, or there are fewer prompts.
    """
    answers, generations = job.items_per_step, job.params.rollout.num_generations
    if problem := group_problem(answers, generations):
        raise ConfigError(problem)
    if answers // generations > len(job.rows):
        raise ConfigError(
            f"a step has {answers // generations} prompts, and there are {len(job.rows)}; lower "
            "--gradient_accumulation_steps, or raise --num_generations"
        )
    return answers // generations


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
