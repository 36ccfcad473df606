"""The engine and the rewards of reinforcement learning: where training, inference and rewards meet."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from components import media, rewards, training
from components.config import Params
from components.errors import ConfigError
from components.inference import GenerationConfig, hides_calls, read_answer
from components.tokens import TokenRow
from components.training.rollouts import Judgement, Sampled
from tasks.stages.conversations import Dialogue, Turns


class LocalRollouts:
    """Answers by the built-in engine, in the process that trains and on the same weights.

    Args:
        judges: rewards beside those of `--reward_funcs`.
        processor: the model's, where prompts have media.

    Raises:
        ConfigError: no reward is named, one cannot work here, or there is no such scheduler of turns.
    """

    def __init__(
        self,
        params: Params,
        tokenizer: Any,
        external: list[Path],
        judges: Sequence[rewards.Reward] = (),
        processor: media.MediaProcessor | None = None,
    ) -> None:
        self.params, self.tokenizer, self.processor = params, tokenizer, processor
        self.rewards = [*rewards.rewards_of(params, external), *judges]
        if not self.rewards and params.method.name != "gkd":
            raise ConfigError(f"reward_funcs: {params.method.name} needs rewards; name some with --reward_funcs")
        self.turns = Turns(params, tokenizer, external)

    @cached_property
    def engine(self) -> Any:
        """The engine, which is made with the first answers."""
        from components.inference.transformers_engine import TransformersEngine

        return TransformersEngine(self.model, self.tokenizer, _no_chat)

    def sample(self, model: Any, rows: Sequence[TokenRow], seeds: Sequence[int]) -> list[Sampled]:
        """Return an answer to each row's prompt; see `training.rollouts.Rollouts`."""
        self.model = model
        dialogues = [Dialogue(*pair) for pair in zip(rows, seeds, strict=True)]
        waiting = dialogues
        with self._answering(model):
            while waiting:
                self._answer(waiting)
                waiting = self.turns.going_on(waiting, self.engine.max_model_len)
            self.engine.forget()
        self.turns.require_some(dialogues)
        return [dialogue.sampled() for dialogue in dialogues]

    def _answer(self, dialogues: Sequence[Dialogue]) -> None:
        """Append the model's next answer to each conversation."""
        prompts, settings = self._prompts(dialogues), list(map(self._settings, dialogues))
        futures = self.engine.submit_all(prompts, settings)
        for dialogue, prompt, future in zip(dialogues, prompts, futures, strict=True):
            answer = future.result()
            message = read_answer(self.engine, prompt, dialogue.tools, answer.text)
            dialogue.add(answer.token_ids, [message], is_generated=True)
            dialogue.log_probs += [token.logprob for token in answer.logprobs]
            dialogue.text, dialogue.is_truncated = answer.text, answer.finish_reason == "length"

    def _prompts(self, dialogues: Sequence[Dialogue]) -> list[list[int]]:
        """Return the token ids of each conversation so far, with the features of the media that its prompt has."""
        features: dict[str, dict[str, Any]] = {}  # answers to one prompt share its media
        prompts: list[list[int]] = []
        for dialogue in dialogues:
            ids, references = dialogue.prompt_ids, dialogue.row.get("media")
            if references and self.processor:
                if (key := str(references)) not in features:
                    features[key] = media.features_of(references, self.processor)
                types = self.processor.types([ids], [[False] * len(ids)])
                kinds = {name: values[0] for name, values in types.items()}
                ids = media.MediaPrompt(ids, features[key], kinds, self.processor.name)
            prompts.append(ids)
        return prompts

    @contextmanager
    def _answering(self, model: Any) -> Generator[None]:
        """Let a model that is trained answer: with a cache, which transformers' Trainer switches off, and its own
        settings of generation as they were."""
        config, generation_config = model.config.get_text_config(), model.generation_config
        used_cache, config.use_cache = config.use_cache, True
        was_training = model.training
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
            config.use_cache, model.generation_config = used_cache, generation_config

    def close(self) -> None:
        """End the engine."""
        if "engine" in self.__dict__:
            self.engine.close()

    def _settings(self, dialogue: Dialogue) -> GenerationConfig:
        chosen = self.params.generation
        return GenerationConfig(
            max_new_tokens=self.params.rollout.max_completion_length - dialogue.length,
            temperature=training.temperature(self.params),
            top_k=chosen.top_k or 0,
            top_p=chosen.top_p or 1.0,
            repetition_penalty=chosen.repetition_penalty or 1.0,
            stop_words=chosen.stop_words,
            seed=dialogue.seed,
            skip_special_tokens=not hides_calls(self.engine, dialogue.tools),
        )

    def judge(self, rows: Sequence[TokenRow], answers: Sequence[Sampled]) -> Judgement:
        """Return what the rewards say; see `training.rollouts.Rollouts`."""
        samples = [
            rewards.Sample(
                prompt=row["prompt"],
                completion=answer.text,
                messages=answer.messages,
                tokens=answer.length,
                is_truncated=answer.is_truncated,
                columns=row["extra"],
            )
            for row, answer in zip(rows, answers, strict=True)
        ]
        return Judgement(*rewards.score(self.rewards, samples, self.params.reward.reward_timeout))


def _no_chat(*_: Any) -> list[int]:
    raise AssertionError("prompts are token ids already")
