"""Answers that keep to a grammar: a JSON schema, a regular expression, or rules in Lark's notation (by llguidance)."""

from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any

import torch

from components.inference.api import Grammar, RequestError

ONE_FORM: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as Python's json writes it: a model that may write blanks may write nothing else."""
FUEL, STEP_FUEL = 200_000, 50_000
"""Work that a grammar may cost at its start, and at each token: all clients wait for the tokens of each."""
NOTHING_FITS = "NoExtension"
"""How llguidance begins to say that no token may follow."""
MAX_GRAMMAR_CHARACTERS = 64 * 2**10
TAIL_TOKENS = 16
"""Tokens at the end of an answer in which the text is looked for after which a grammar begins."""


class Matcher:
    """Follows one answer through a grammar.

    Args:
        state: llguidance's matcher.
        ends: token ids that end an answer; they are allowed where the grammar is complete.
        after: the text from which on the answer must keep to the grammar.
        decode: makes text of token ids, to find `after`.
    """

    def __init__(self, state: Any, ends: Collection[int], after: str, decode: Callable[[list[int]], str]):
        self.state, self.ends, self.after, self.decode = state, sorted(ends), after, decode
        self._tail: list[int] = []

    def restrict(self, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores` [1, vocabulary] with minus infinity for every token that the grammar does not allow next.

        Raises:
            RequestError: the grammar allows nothing, or is too large to follow.
        """
        if self.after:
            return scores
        if self.state.is_error():
            reason = one_line(self.state.get_error())
            reason = "it allows no text" if reason.startswith(NOTHING_FITS) else reason
            raise RequestError(f"the grammar of the answer cannot be kept: {reason}")
        if self.state.is_stopped():
            allowed = torch.zeros(scores.shape[-1], dtype=torch.bool)
        else:
            bits = torch.frombuffer(bytearray(self.state.compute_bitmask()), dtype=torch.uint8)
            if self.state.is_error():
                return self.restrict(scores)
            allowed = (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten().bool()[: scores.shape[-1]]
        if self.state.is_accepting() or self.state.is_stopped():
            allowed[self.ends] = True
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        forbidden[0, : len(allowed)] = ~allowed.to(scores.device)
        return scores.masked_fill(forbidden, -torch.inf)

    def accept(self, token: int) -> None:
        """Take the next token of the answer."""
        if self.after:
            self._tail = [*self._tail, token][-TAIL_TOKENS:]
            if self.after in self.decode(self._tail):
                self.after = ""
            return
        if token not in self.ends and not self.state.is_stopped():
            self.state.consume_token(token)


def one_line(problem: str) -> str:
    """Return llguidance's reason: its first line, and the line with the error where the first only announces one."""
    first, *others = problem.strip().splitlines()
    error = next((line for line in others if line.startswith("error: ")), "")
    return f"{first} {error}" if first.endswith(":") else first


class Grammars:
    """The grammars of one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers.
        vocabulary: number of the model's token ids.
        ends: token ids that end an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Collection[int]):
        from llguidance.hf import from_tokenizer

        try:
            self.tokenizer = from_tokenizer(tokenizer, vocabulary)
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError("this model's tokenizer cannot keep to a grammar") from error
        self.ends, self.decode = ends, tokenizer.decode

    @lru_cache(maxsize=64)  # noqa: B019  # lives as long as the engine
    def rules(self, grammar: Grammar) -> str:
        """Return a grammar in llguidance's own notation.

        Raises:
            RequestError: the grammar is too long, or not a grammar.
        """
        from llguidance import LLMatcher

        if len(grammar.text) > MAX_GRAMMAR_CHARACTERS:
            raise RequestError(f"the grammar of the answer has more than {MAX_GRAMMAR_CHARACTERS:,} characters")
        read = {
            "json": partial(LLMatcher.grammar_from_json_schema, overrides=ONE_FORM),
            "regex": LLMatcher.grammar_from_regex,
            "lark": LLMatcher.grammar_from_lark,
        }[grammar.kind]
        rules = ""
        try:
            rules = read(grammar.text)
            problem = LLMatcher.validate_grammar(rules, self.tokenizer)
        except ValueError as error:
            problem = str(error)
        if problem:
            raise RequestError(f"the grammar of the answer cannot be kept: {one_line(problem)}")
        return rules

    def matcher(self, grammar: Grammar) -> Matcher:
        """Return a matcher at the beginning of an answer; raises RequestError as `rules`."""
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(initial_lexer_fuel=FUEL, step_lexer_fuel=STEP_FUEL, verbose_errors=False)
        state = LLMatcher(self.tokenizer, self.rules(grammar), limits=limits)
        return Matcher(state, self.ends, grammar.after, self.decode)
