"""Reinforcement learning: answers that the model samples, judged by rewards."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from components.figures import is_reported
from components.tokens import IGNORED, TokenRow
from components.training import advantages, ranks
from components.training import experience as experiences
from components.training.cross_entropy import cross_entropy, entropies
from components.training.dynamic_sampling import prompts_beside, replaced, replacements
from components.training.forward import learned_logits, of_model
from components.training.isolation import collator
from components.training.job import Job, generations, iterations, temperature
from components.training.methods._answer_trainer import AnswerTrainer
from components.training.policy_losses import PolicyTokens
from components.training.prompts import Generations, Groups, prompts_per_step
from components.training.rollouts import Judgement, Sampled
from components.training.sampled_answers import failures, figures_of, rollouts_shown
from components.training.start_weights import reference_of

FILE = "rollouts-{}.safetensors"
"""In a checkpoint, the answers that the next step of a process still learns from."""


class Scores(NamedTuple):
    """What a forward pass says of the learned tokens of a batch.

    Attributes:
        log_probs: in nats [tokens].
        owners: number of each token's answer [tokens].
        logits: without a gradient [tokens, vocabulary].
        values: reward still to come, by a value head [tokens].
        outputs: the model's.
    """

    log_probs: torch.Tensor
    owners: torch.Tensor
    logits: torch.Tensor
    values: torch.Tensor | None
    outputs: Any


class PolicyTrainer(AnswerTrainer):
    """Before an optimizer step (every `iterations` of them), the model answers the step's prompts `generations` times
    each; the rewards become advantages, and the step makes good answers likelier.

    A batch counts answers, as in TRL and ms-swift. Seeds of answers follow from the run's seed, the step, the prompt
    and the number of the answer, so that a run goes on exactly.
    """

    value_head: torch.nn.Module | None = None
    kl_in_reward = False
    """Whether the distance to the reference model is part of the reward, and not of the loss."""

    def __init__(self, job: Job) -> None:
        self.settings = job.params.rollout
        self.generations, self.iterations = generations(job.params), iterations(job.params)
        self.prompts = prompts_per_step(job)
        self.kl_weight = self._kl_weight(job)
        self.reference = reference_of(job) if self.kl_weight else None
        self.collate = collator(job, *([self.reference.model] if self.reference else []))
        self.experience: list[experiences.Batch] = []
        self.figures_of_answers: experiences.Figures = {}
        """Of the answers that are learned from, by name."""
        self.temperature = temperature(job.params)
        super().__init__(job, list)
        [self.loss] = self.loss_methods.values()

    def _kl_weight(self, job: Job) -> float:
        return job.beta

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
        for name, values in self.figures_of_answers.items():
            self.means[True].add(name, values)
        count = sum(self._count(part) for part in self.experience)
        total = ranks.total([count])[0]
        return [dict(part) for part in self.experience], torch.tensor(total, device=device)

    def _count(self, part: experiences.Batch) -> int:
        name = "labels" if self.loss.DIVISOR == "answers" else "token_labels"
        return int((part[name][:, 1:] >= 0).sum())

    def _sampled(self, rows: list[TokenRow], sizes: list[int]) -> list[experiences.Batch]:
        """Return what a step learns from: answers to `rows`, judged, in forward passes over `sizes` of them."""
        rows, answers, judgement = self._answered(rows)
        learned = [not (self.settings.overlong_filter and answer.is_truncated) for answer in answers]
        parts = experiences.batches(self.collate, rows, answers, learned, sizes)
        self._score(parts)
        self.figures_of_answers = figures_of(answers, judgement, self.settings)
        values = self._add_advantages(rows, answers, judgement, parts)
        self._report(rows, answers, judgement, values)
        return parts

    def _answered(self, rows: list[TokenRow]) -> tuple[list[TokenRow], list[Sampled], Judgement]:
        """Return rows, an answer to each and what the rewards say; with `dynamic_sample` some rows are of other prompts
        than those given."""
        number = self.state.global_step // self.iterations
        answers, judgement = self._judged(rows, number)
        if not self.settings.dynamic_sample:
            return rows, answers, judgement
        others = prompts_beside(rows, len(self.job.rows), f"{self.job.train.seed} {number}")
        for _ in range(self.settings.max_resample_times):
            prompts = replacements(rows, judgement.totals, others)
            if prompts is None:
                break
            fresh = [
                {**self.job.rows[n], "number": n, "generation": rows[at]["generation"]} for at, n in prompts.items()
            ]
            of_fresh, theirs = self._judged(fresh, number)
            rows, answers = list(rows), list(answers)
            for at, row, answer in zip(prompts, fresh, of_fresh, strict=True):
                rows[at], answers[at] = row, answer
            judgement = replaced(judgement, theirs, list(prompts))
        return rows, answers, judgement

    def _judged(self, rows: list[TokenRow], number: int) -> tuple[list[Sampled], Judgement]:
        """Return an answer to each row, the `number`th time that the model is asked, and what the rewards say."""
        seeds = [_seed(self.job.train.seed, number, row["number"], row["generation"]) for row in rows]
        answers = self.rollouts.sample(self.job.model, rows, seeds)
        return answers, self.rollouts.judge(rows, answers)

    def _score(self, parts: list[experiences.Batch]) -> None:
        """Add the log probabilities of the tokens by the reference model and, where several steps learn from the same
        answers, by the model that sampled them; and the values by a value head."""
        model: Any = self.job.model
        was_training = model.training
        model.eval()
        for part in parts:
            inputs = self._prepare_inputs(part)
            if self.iterations > 1 or self.value_head:
                with torch.no_grad():
                    scores = self._scores(model, inputs)
                part["old"] = scores.log_probs.cpu()
                if scores.values is not None:
                    part["values"] = scores.values.cpu()
            if self.reference:
                with self.reference.applied():
                    part["reference"] = self._scores(self.reference.model, inputs, values=False).log_probs.cpu()
        model.train(was_training)

    def _scores(self, model: Any, inputs: dict[str, Any], values: bool = True) -> Scores:
        head = self.value_head if values else None
        logits, tokens, outputs = learned_logits(model, {**of_model(inputs), "labels": inputs["token_labels"]}, head)
        logits = logits if self.temperature == 1 else logits / self.temperature
        log_probs = -cross_entropy(logits, tokens["labels"])
        return Scores(log_probs, tokens["owners"], logits.detach(), tokens.get("values"), outputs)

    def _add_advantages(
        self,
        rows: list[TokenRow],
        answers: list[Sampled],  # noqa: ARG002
        judgement: Judgement,
        parts: list[experiences.Batch],
    ) -> np.ndarray:
        """Add to each part the advantages of its tokens, and return those of the answers of this process; a prompt's
        answers may be of several processes."""
        totals = self._totals(judgement, parts)
        own = [(row["number"], float(total)) for row, total in zip(rows, totals, strict=True)]
        groups, rewards = zip(*ranks.gathered(own), strict=True)
        place = sum(ranks.gathered([len(own)])[: ranks.rank()])
        values = self._compared(rewards, groups)[place : place + len(own)]
        self.figures_of_answers["frac_reward_zero_std"] = torch.tensor([advantages.equal_groups(rewards, groups)])
        for part, of_part in zip(parts, np.split(values, _ends(parts)[:-1]), strict=True):
            part["advantages"] = torch.tensor(of_part, dtype=torch.float32)[learned_owners(part)]
        return values

    def _totals(self, judgement: Judgement, parts: list[experiences.Batch]) -> np.ndarray:  # noqa: ARG002
        """Return the reward of each answer of this process."""
        return np.asarray(judgement.totals)

    def _compared(self, rewards: Sequence[float], groups: Sequence[int]) -> np.ndarray:
        """Return the advantages of answers, by their rewards and prompts."""
        return advantages.of_groups(rewards, groups, self.settings.scale_rewards)

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the weighted losses of the tokens of a batch, and the model's outputs."""
        log_probs, owners, logits, _, outputs = scores = self._scores(model, inputs)
        counts = torch.bincount(owners, minlength=len(inputs["labels"])).clamp(min=1)
        lengths = counts[owners].to(log_probs.dtype)
        old = inputs.get("old", log_probs.detach()).to(log_probs.device)
        log_ratios = log_probs - old
        means = log_probs.new_zeros(len(counts)).index_add(0, owners, log_ratios / lengths)
        is_sequence = self.settings.importance_sampling_level == "sequence"
        ratios = (means[owners] if is_sequence else log_ratios).exp()
        tokens = PolicyTokens(log_probs, ratios, log_ratios, inputs["advantages"], lengths, owners)
        losses = self.loss.losses(tokens, self.job.params)
        if "sampled" in inputs:
            losses = losses * self._sampling_weights(old, inputs["sampled"].to(old.device))
        if "reference" in inputs:
            difference = inputs["reference"].to(log_probs.device) - log_probs
            distances = difference.exp() - difference - 1  # Schulman's estimate (k3), never below 0
            self.means[True].add("kl", distances)
            if not self.kl_in_reward:
                losses = losses + self.kl_weight * distances
        self._note(tokens, logits)
        loss = (losses * self.loss.weights(lengths, self.job.params)).sum()
        return loss + self._value_loss(scores, inputs), outputs

    def _value_loss(self, scores: Scores, inputs: dict[str, Any]) -> torch.Tensor | float:  # noqa: ARG002
        """Return the sum of the losses of the values."""
        return 0.0

    @property
    def clip_range(self) -> tuple[float, float]:
        """The ratios between which no gradient stops."""
        low, high = self.settings.epsilon, self.settings.epsilon_high
        return 1 - low, 1 + (low if high is None else high)

    def _sampling_weights(self, old: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
        """Return what tokens weigh that another program drew: truncated importance sampling, as in TRL."""
        ratios = (old - sampled).exp()
        self.means[True].add("sampling/sampling_logp_difference/mean", (old - sampled).abs())
        self.means[True].add("sampling/importance_sampling_ratio/mean", ratios)
        if not self.settings.vllm_importance_sampling_correction:
            return torch.ones_like(ratios)
        return ratios.clamp(max=self.settings.vllm_importance_sampling_cap)

    @torch.no_grad()
    def _note(self, tokens: PolicyTokens, logits: torch.Tensor) -> None:
        means, (low, high) = self.means[True], self.clip_range
        is_clipped = ((tokens.ratios < low) & (tokens.advantages < 0)) | (
            (tokens.ratios > high) & (tokens.advantages > 0)
        )
        means.add("clip_ratio", is_clipped.float())
        means.add("ratio", tokens.ratios)
        means.add("entropy", entropies(logits))

    def _report(self, rows: list[TokenRow], answers: list[Sampled], judgement: Judgement, values: np.ndarray) -> None:
        """Report some sampled answers as texts, and how often a reward or a scheduler failed."""
        step, every = self.state.global_step + 1, self.job.train.logging_steps
        if not ranks.is_writer() or not is_reported(step, every, self.state.max_steps):
            return
        shown = rollouts_shown(self.job.tokenizer, rows, answers, judgement, values)
        self.job.report({"step": step, "rollouts": shown})
        if words := failures(answers, judgement, self.settings):
            self.job.report({"message": f"step {step}: failed: {words} of {len(rows)} answers"})

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        """Return the mean reward of an answer to each validation prompt, of all rewards and of each; `eval_loss` is
        minus that, so that the least is the best."""
        rows = self.job.val_rows
        own = [rows[i] for i in range(ranks.rank(), len(rows), ranks.world_size())]
        seeds = [_seed(self.job.train.seed, -1, i, 0) for i in range(ranks.rank(), len(rows), ranks.world_size())]
        answers = self.rollouts.sample(self.job.model, own, seeds)
        for name, values in figures_of(answers, self.rollouts.judge(own, answers), self.settings).items():
            self.means[False].add(name, values)
        metrics = self.means[False].take("eval_")
        metrics = {"eval_loss": -metrics["eval_reward"], **metrics}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights, and the answers that the next step still learns from."""
        super().save_model(output_dir, _internal_call)
        if self.state.global_step % self.iterations:
            file = Path(str(output_dir)) / FILE.format(ranks.rank())
            experiences.write(file, self.experience, self.figures_of_answers)
        ranks.barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / FILE.format(ranks.rank())
        self.experience, self.figures_of_answers = experiences.read(file) if file.is_file() else ([], {})


def learned_owners(part: experiences.Batch) -> torch.Tensor:
    """Return the number of the answer of each learned token of a batch [tokens]."""
    return part["owners"][:, 1:][part["token_labels"][:, 1:] != IGNORED]


def _ends(parts: list[experiences.Batch]) -> np.ndarray:
    """Return of each part how many answers there are up to its end."""
    return np.cumsum([len(part["labels"]) for part in parts])


def _seed(seed: int, step: int, prompt: int, generation: int) -> int:
    return random.Random(f"{seed} {step} {prompt} {generation}").getrandbits(62)
