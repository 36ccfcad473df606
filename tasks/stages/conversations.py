"""The conversations of reinforcement learning: answers of the model, and what a scheduler of turns says to them."""

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from components import templates
from components.config import Params
from components.data.normalize.messages import messages_of
from components.errors import ConfigError, MartletError
from components.parallel import threaded, within
from components.plugins import fault
from components.rows import Message
from components.tokens import TokenRow
from components.training.rollouts import Sampled
from components.turns import SCHEDULERS, Conversation

AT_ONCE = 16
"""Conversations that a scheduler is asked about at a time."""


class Dialogue:
    """One conversation behind a row's prompt, as it grows: the attributes of `Sampled`, whether the scheduler was asked
    about it, and the error if that failed."""

    def __init__(self, row: TokenRow, seed: int) -> None:
        self.row, self.first_seed = row, seed
        self.ids: list[int] = []
        self.is_generated: list[bool] = []
        self.log_probs: list[float] = []
        self.messages: list[Message] = []
        self.text, self.is_truncated = "", False
        self.is_asked, self.error = False, ""

    @property
    def tools(self) -> list[dict[str, Any]] | None:
        """The tools that the prompt offers."""
        return self.row["extra"].get("tools")

    @property
    def prompt_ids(self) -> list[int]:
        """All ids so far."""
        return self.row["prompt_ids"].tolist() + self.ids

    @property
    def length(self) -> int:
        """Tokens that the model wrote."""
        return sum(self.is_generated)

    @property
    def turn(self) -> int:
        """Answers so far."""
        return sum(message["role"] == "assistant" for message in self.messages)

    @property
    def seed(self) -> int:
        """The seed of the next answer."""
        return random.Random(f"{self.first_seed} {self.turn}").getrandbits(62) if self.turn else self.first_seed

    def add(self, ids: Sequence[int], messages: list[Message], is_generated: bool) -> None:
        """Append ids and the messages that they show."""
        self.ids += ids
        self.is_generated += [is_generated] * len(ids)
        self.messages += messages

    def sampled(self) -> Sampled:
        """Return the conversation as training takes it."""
        return Sampled(
            self.ids,
            self.is_generated,
            self.text,
            self.messages,
            self.is_truncated,
            bool(self.error),
            self.log_probs or None,
        )


class Turns:
    """What follows answers, as the scheduler that `--multi_turn_scheduler` names says; nothing without one.

    Raises:
        ConfigError: there is no such scheduler, or its file is not a complete one.
    """

    def __init__(self, params: Params, tokenizer: Any, external: list[Path]) -> None:
        self.settings, self.timeout_s = params.rollout, params.reward.reward_timeout
        self.name = self.settings.multi_turn_scheduler
        self.scheduler = SCHEDULERS.load(self.name, external) if self.name else None
        self.template, self.tokenizer = params.template, tokenizer

    @cached_property
    def prompts(self) -> templates.Prompts:
        """What renders messages; those of rows have their system prompt already."""
        thinks, suffix = self.template.enable_thinking, self.template.response_suffix
        return templates.Prompts(self.tokenizer, enable_thinking=thinks, response_suffix=suffix)

    def going_on(self, dialogues: Sequence[Dialogue], max_model_len: int) -> list[Dialogue]:
        """Ask the scheduler about answers, append what it says, and return the conversations that the model answers
        again; one that has no token left for that is truncated.

        Raises:
            ConfigError: the scheduler returns no messages, takes longer than `--reward_timeout`, or says what the
                template cannot show.
        """
        last = self.settings.max_turns
        open_ones = [one for one in dialogues if not one.is_truncated and (last is None or one.turn < last)]
        if not self.scheduler or not open_ones:
            return []
        try:
            replies = within(self.timeout_s, partial(threaded, self._reply, open_ones, AT_ONCE))
        except TimeoutError:
            raise ConfigError(
                f"multi_turn_scheduler: {self.name} took longer than {self.timeout_s:g} s for {len(open_ones)} "
                "conversations; raise --reward_timeout, or make it faster"
            ) from None
        return [
            one for one, reply in zip(open_ones, replies, strict=True) if reply and self._add(one, reply, max_model_len)
        ]

    def require_some(self, dialogues: Sequence[Dialogue]) -> None:
        """Raise MartletError if the scheduler failed on every conversation that it was asked about."""
        errors = [one.error for one in dialogues if one.is_asked]
        if errors and all(errors):
            raise MartletError(
                f"multi_turn_scheduler: {self.name} failed on all of {len(errors)} conversations: {errors[0]}"
            )

    def _reply(self, dialogue: Dialogue) -> list[Message]:
        """Return what the scheduler says to an answer; nothing where it is over, or the scheduler fails."""
        assert self.scheduler
        dialogue.is_asked = True
        messages, columns = deepcopy(([*dialogue.row["prompt"], *dialogue.messages], dialogue.row["extra"]))
        try:
            reply: Any = self.scheduler.step(Conversation(messages, columns, dialogue.turn))
        except MartletError:
            raise
        except (Exception, SystemExit) as error:
            dialogue.error = fault(error) or f"{type(error).__name__}: {error}"
            return []
        return self._checked(reply) if reply else []

    def _checked(self, reply: Any) -> list[Message]:
        """Return the messages of a scheduler in canonical form.

        Raises:
            ConfigError: they are no messages of tools or the user.
        """
        try:
            messages = messages_of(json.loads(json.dumps(reply)), "step", {})
            roles = {message["role"] for message in messages} - {"tool", "user"}
            problem = f"'step' gave a message with the role {roles.pop()}" if roles else None
        except (ValueError, TypeError) as error:
            problem, messages = str(error), []
        if problem:
            raise ConfigError(
                f"multi_turn_scheduler: {self.name}: {problem}; return a list of messages with the role tool or user, "
                "or None"
            )
        return messages

    def _add(self, dialogue: Dialogue, messages: list[Message], max_model_len: int) -> bool:
        """Append messages, and return whether there is a token left for an answer."""
        extra = dialogue.row["extra"]
        beside = {name: extra[name] for name in ("tools", "chat_template_kwargs") if name in extra}
        row = beside | {"messages": dialogue.row["prompt"]}  # what was said since changes nothing of what follows
        try:
            end, ids = templates.continuation(self.prompts, row, dialogue.messages[-1], messages)
        except templates.Refused as refusal:
            raise ConfigError(
                f"multi_turn_scheduler: the chat template of the model does not show what {self.name} says "
                f"({refusal}); say it with the role user, or train a model that was made for tools"
            ) from refusal
        if dialogue.ids[-1:] != end[-1:]:  # a stop word, or another end token, ended the answer
            ids = end + ids
        if dialogue.length >= self.settings.max_completion_length or (
            len(dialogue.prompt_ids) + len(ids) >= max_model_len
        ):
            dialogue.is_truncated = True
            return False
        dialogue.add(ids, messages, is_generated=False)
        return True
