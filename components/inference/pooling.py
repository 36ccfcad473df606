"""Models that read texts and write none: a classifier, and an embedding. One thread computes several texts at a time.

with PoolingEngine(model, tokenizer, classes) as engine:
    vector = engine.submit(engine.row("Will it rain?")).result()
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import accumulate, chain
from typing import Any, NamedTuple, Self

import torch

from components.classes import REGRESSION, REWARD, SEVERAL, Classes
from components.errors import MartletError
from components.inference.api import Message, Prompts, RequestError
from components.inference.on_device import batch_size, spare_threads
from components.tokens import pad_token_id

Row = dict[str, list[int]]
"""A text as a tokenizer returns it: `input_ids`, and where the model reads pairs `token_type_ids`."""
MAX_BATCH_TOKENS = 16_384
"""Tokens, padding included, of the texts that are computed together."""


class Verdict(NamedTuple):
    """What a classifier says of a text.

    Attributes:
        label: the likeliest class, all classes above one half where a text may have several, or None for a number.
        shares: of the classes, in the order of the model; of a regression the number alone.
    """

    label: str | list[str] | None
    shares: list[float]


class PoolingModel:
    """A loaded classifier or embedding, asked from one thread.

    Args:
        model: of transformers; without `classes` one whose first output is the hidden states, of which that of the
            last token, with the length 1, is the vector of the text.
        classes: what a classifier tells.
        prompts: makes the token ids of a chat, where the model reads texts by its chat template.
        max_model_len: tokens of the longest text; None for any.
        max_batch_size: texts computed together.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        classes: Classes | None = None,
        prompts: Prompts | None = None,
        max_model_len: int | None = None,
        max_batch_size: int | None = None,
    ):
        self.model, self.tokenizer, self.classes, self.prompts = model.eval(), tokenizer, classes, prompts
        model.config.use_cache = False
        self.max_model_len = max_model_len
        self.max_batch_size = max_batch_size or batch_size(model)

    @property
    def reads_pairs(self) -> bool:
        """Whether the model is a cross-encoder: one number for two texts, which are given as they are."""
        return self.classes is not None and self.classes.problem_type == REGRESSION and self.prompts is None

    def row(self, text: str | list[Message], other: str | None = None, tools: Any = None, variables: Any = None) -> Row:
        """Return the tokens of a text or a chat, or of two texts for a cross-encoder; `tools` and `variables` are those
        of the chat template.

        Raises:
            RequestError: there are none, or more than the model reads.
        """
        if self.prompts:
            chat = [{"role": "user", "content": text}] if isinstance(text, str) else text
            is_rated = self.classes == REWARD and chat[-1]["role"] == "assistant"
            return self._chat(chat, tools, variables, asks=not is_rated)
        plain = text if isinstance(text, str) else "\n".join(message["content"] or "" for message in text)
        return self.checked(dict(self.tokenizer(plain, other, return_attention_mask=False)))

    def rated(self, chat: list[Message], tools: Any = None, variables: Any = None) -> Row:
        """Return the tokens of a conversation whose last answer is rated, as `row`: nothing stands behind the answer.

        Raises:
            RequestError: as `row`.
        """
        return self._chat(chat, tools, variables, asks=False)

    def _chat(self, chat: list[Message], tools: Any, variables: Any, asks: bool) -> Row:
        assert self.prompts
        try:
            return self.checked({"input_ids": self.prompts(chat, tools, variables or {}, asks)})
        except ValueError as error:
            raise RequestError(f"the model cannot read this: {error}") from error

    def checked(self, row: Row) -> Row:
        """Return a row that the model can read.

        Raises:
            RequestError: it has no tokens, unknown ones, or more than the model reads.
        """
        count, vocabulary = len(row["input_ids"]), self.model.get_input_embeddings().num_embeddings
        if not count:
            raise RequestError("the text is empty")
        if self.max_model_len and count > self.max_model_len:
            reason = f"the text has {count:,} tokens, and the model reads {self.max_model_len}"
            raise RequestError(reason, code="context_length_exceeded")
        if unknown := [token for token in row["input_ids"] if not 0 <= token < vocabulary]:
            raise RequestError(f"{unknown[0]} is no token id; they are 0 to {vocabulary - 1}")
        return row

    def verdict(self, logits: Sequence[float]) -> Verdict:
        """Return what a classifier says by its logits [classes]."""
        assert self.classes
        names, kind, _ = self.classes
        if kind == REGRESSION:
            return Verdict(None, [*logits])
        scores = torch.tensor(logits)
        shares = (scores.sigmoid() if kind == SEVERAL else scores.softmax(-1)).tolist()
        if kind == SEVERAL:
            return Verdict([name for name, share in zip(names, shares, strict=True) if share > 0.5], shares)
        return Verdict(names[max(range(len(names)), key=shares.__getitem__)], shares)

    def batched_outputs(self, rows: Sequence[Row]) -> list[list[float]]:
        """Return the outputs of any number of texts, in batches that depend on the texts alone."""
        outputs: list[list[float]] = []
        while len(outputs) < len(rows):
            rest = rows[len(outputs) : len(outputs) + self.max_batch_size]
            longest = accumulate((len(row["input_ids"]) for row in rest), max)
            count = sum(length * number <= MAX_BATCH_TOKENS for number, length in enumerate(longest, 1))
            outputs += self.outputs(rest[: max(1, count)])
        return outputs

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row]) -> list[list[float]]:
        """Return the vectors [rows, width] or the logits [rows, classes] of texts."""
        lengths = [len(row["input_ids"]) for row in rows]
        fill = dict.fromkeys((name for row in rows for name in row), 0) | {"input_ids": pad_token_id(self.tokenizer)}
        inputs: dict[str, list[list[int]]] = {}
        for name, value in fill.items():  # rows of token ids alone have no token types, and so the first
            columns = [row.get(name, []) for row in rows]
            inputs[name] = [column + [value] * (max(lengths) - len(column)) for column in columns]
        inputs["attention_mask"] = [[1] * length + [0] * (max(lengths) - length) for length in lengths]
        device = self.model.device
        tensors = {name: torch.tensor(values, device=device) for name, values in inputs.items()}
        output = self.model(**tensors)
        if self.classes:
            return output.logits.float().tolist()
        ends = torch.tensor(lengths, device=device) - 1
        states = output[0][torch.arange(len(rows), device=device), ends].float()
        return torch.nn.functional.normalize(states, dim=-1).tolist()


class PoolingEngine(PoolingModel):
    """A loaded classifier or embedding, asked from any thread."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._changed, self._is_closed, self._running = threading.Condition(), False, 0
        self._waiting: dict[object, deque[tuple[Row, Future[list[float]]]]] = {}
        self._thread = threading.Thread(target=self._work, name="pooling", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            for _row, future in chain.from_iterable(self._waiting.values()):
                future.cancel()
            self._changed.notify()
        self._thread.join()

    def submit(self, row: Row, source: object = None) -> "Future[list[float]]":
        """Return the future of a text's vector, or of its logits for the classes. The texts of one source take turns
        with those of others."""
        future: Future[list[float]] = Future()
        with self._changed:
            if self._is_closed:
                raise MartletError("the engine is closed")
            self._waiting.setdefault(source, deque()).append((row, future))
            self._changed.notify()
        return future

    def load(self) -> tuple[int, int]:
        """Return how many texts are computed, and how many wait."""
        return self._running, sum(map(len, self._waiting.values()))

    def _work(self) -> None:
        spare_threads(self.model)
        while batch := self._take():
            rows, futures = zip(*batch, strict=True)
            try:
                outputs = self.outputs(rows)
            except Exception as error:
                for future in futures:
                    future.set_exception(error)
                continue
            for future, output in zip(futures, outputs, strict=True):
                future.set_result(output)

    def _take(self) -> "list[tuple[Row, Future[list[float]]]]":
        """Return the texts that are computed next, one of each source in turn; none when the engine is closed."""
        with self._changed:
            self._running = 0
            batch: list[tuple[Row, Future[list[float]]]] = []
            while not batch:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return []
                longest = 0
                while self._waiting and len(batch) < self.max_batch_size:
                    source, texts = next(iter(self._waiting.items()))
                    longest = max(longest, len(texts[0][0]["input_ids"]))
                    if batch and longest * (len(batch) + 1) > MAX_BATCH_TOKENS:
                        break
                    row, future = texts.popleft()
                    del self._waiting[source]
                    if texts:
                        self._waiting[source] = texts  # behind the others
                    if future.set_running_or_notify_cancel():
                        batch.append((row, future))
            self._running = len(batch)
            return batch
