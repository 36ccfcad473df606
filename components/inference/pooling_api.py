"""The API of models that write no text: OpenAI's /v1/embeddings, vLLM's /classify, and /rerank of Jina and vLLM."""

import asyncio
import base64
import math
import time
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from pydantic import Field
from starlette.exceptions import HTTPException

from components.config.groups.serve import Serve
from components.inference.api import RequestError
from components.inference.app import Room, base_app
from components.inference.intake import PREPARING_THREADS, max_body_bytes, read_body, while_connected
from components.inference.metrics import STATE
from components.inference.openai_errors import MAX_SHOWN_CHARACTERS
from components.inference.openai_types import STOP_AT_FIRST_FAULT, Messages, Strict, Tools, Variables
from components.inference.pooling import PoolingEngine, Row

MAX_TEXTS = 2048
"""Texts of one request, as OpenAI has it."""
FULL_TEXTS = 64
"""Texts as long as the model reads for which a body has room."""
T = TypeVar("T", bound="Texts")


class Texts(Strict):
    """A request about texts of a model, by default the one that is served."""

    model: str | None = None
    user: str | None = None


SeveralTexts = Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS, fail_fast=True)]
TokenIds = Annotated[list[int], STOP_AT_FIRST_FAULT]
SeveralTokenIds = Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_TEXTS, fail_fast=True)]


class EmbeddingRequest(Texts):
    input: str | SeveralTexts | Annotated[TokenIds, Field(min_length=1)] | SeveralTokenIds
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class ClassifyRequest(Texts):
    input: str | SeveralTexts | None = None
    messages: Messages | None = None
    tools: Tools | None = None
    chat_template_kwargs: Variables = Field(default_factory=dict)


class RerankRequest(Texts):
    query: str
    documents: SeveralTexts
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = True


def create_pooling_app(
    engine: PoolingEngine, name: str, api_key: str | None = None, settings: Serve | None = None
) -> FastAPI:
    """Return the application that serves an embedding or a classifier under a name; see `base_app`.

    An embedding has /v1/embeddings; a classifier /classify; an embedding and a cross-encoder /rerank, by the cosine of
    the vectors of query and document, or by the sigmoid of the model's number for the two.
    """
    settings = settings or Serve()
    limit = max_body_bytes(MAX_TEXTS if engine.max_model_len is None else engine.max_model_len * FULL_TEXTS)
    room = Room(settings.max_waiting_requests, lambda: (engine.load()[0], open_requests))
    app = base_app(api_key, settings, room, limit)
    started, threads, open_requests = int(time.time()), CapacityLimiter(PREPARING_THREADS), 0

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [description()]}

    @app.get("/v1/models/{model:path}")
    async def model_by_name(model: str) -> dict[str, Any]:
        require_model(model)
        return description()

    async def outputs(request: Request, kind: type[T], prepare: Callable[[T], list[Row]]) -> Computed[T]:
        """Return a request, and what the model returns for the rows that `prepare` makes of it."""

        def rows_of(body: bytes) -> tuple[T, list[Row]]:
            payload = kind.model_validate_json(body)
            require_model(payload.model)
            return payload, prepare(payload)

        with room.entering():
            body = await read_body(request)
            payload, rows = await while_connected(request, to_thread.run_sync(rows_of, body, limiter=threads))
        count = sum(len(row["input_ids"]) for row in rows)
        usage = {"prompt_tokens": count, "total_tokens": count}
        request.scope[STATE].update(model=name, usage=usage)
        nonlocal open_requests
        open_requests += 1
        futures = [asyncio.wrap_future(engine.submit(row, request)) for row in rows]
        try:
            async with asyncio.timeout(settings.request_timeout):
                results = await while_connected(request, asyncio.gather(*futures))
        except TimeoutError:
            raise HTTPException(504, f"the answer took longer than {settings.request_timeout:g} s") from None
        finally:
            open_requests -= 1
        return Computed(payload, results, {"model": name, "usage": usage})

    if engine.classes is None:

        @app.post("/v1/embeddings")
        async def embeddings(request: Request) -> dict[str, Any]:
            payload, vectors, about = await outputs(request, EmbeddingRequest, embedded)
            require_width(payload.dimensions, len(vectors[0]))
            written = base64_of if payload.encoding_format == "base64" else list
            data = [{"object": "embedding", "index": i, "embedding": written(v)} for i, v in enumerate(vectors)]
            return {"object": "list", "data": data, **about}

    else:

        @app.post("/classify")
        async def classify(request: Request) -> dict[str, Any]:
            _, logits, about = await outputs(request, ClassifyRequest, classified)
            verdicts = [engine.verdict(row) for row in logits]
            data = [
                {"index": i, "label": verdict.label, "probs": verdict.shares, "num_classes": len(verdict.shares)}
                for i, verdict in enumerate(verdicts)
            ]
            return {
                "id": f"classify-{uuid.uuid4().hex}",
                "object": "list",
                "created": int(time.time()),
                "data": data,
                **about,
            }

    if engine.classes is None or engine.reads_pairs:

        @app.post("/rerank")
        @app.post("/v1/rerank")
        async def rerank(request: Request) -> dict[str, Any]:
            payload, rows, about = await outputs(request, RerankRequest, ranked)
            scores = relevances(rows) if engine.classes is None else [sigmoid(row[0]) for row in rows]
            best = sorted(range(len(scores)), key=lambda i: -scores[i])[: payload.top_n]
            results = [
                {"index": i, "relevance_score": scores[i]}
                | ({"document": {"text": payload.documents[i]}} if payload.return_documents else {})
                for i in best
            ]
            return {"id": f"rerank-{uuid.uuid4().hex}", "results": results, **about}

    def embedded(payload: EmbeddingRequest) -> list[Row]:
        texts: Any = payload.input
        if isinstance(texts, str) or isinstance(texts[0], int):
            texts = [texts]
        return [engine.row(text) if isinstance(text, str) else engine.checked({"input_ids": text}) for text in texts]

    def classified(payload: ClassifyRequest) -> list[Row]:
        if (payload.input is None) == (payload.messages is None):
            raise RequestError("send either `input`, a text or a list of texts, or the `messages` of one chat")
        if payload.messages:
            if engine.prompts is None:
                raise RequestError("messages: the model has no chat template; send the text as `input`")
            chat = [message.for_template() for message in payload.messages]
            return [engine.row(chat, None, payload.tools, payload.chat_template_kwargs)]
        texts = [payload.input] if isinstance(payload.input, str) else payload.input
        return [engine.row(text) for text in texts or []]

    def ranked(payload: RerankRequest) -> list[Row]:
        if engine.reads_pairs:
            return [engine.row(payload.query, document) for document in payload.documents]
        return [engine.row(text) for text in (payload.query, *payload.documents)]

    def require_model(model: str | None) -> None:
        if model not in (None, name):
            shown = (model or "")[:MAX_SHOWN_CHARACTERS]
            raise HTTPException(404, f"the model '{shown}' does not exist; this server has: {name}")

    def description() -> dict[str, Any]:
        properties = {"created": started, "owned_by": "martlet", "max_model_len": engine.max_model_len}
        return {"id": name, "object": "model", **properties}

    return app


class Computed(NamedTuple, Generic[T]):
    """A request, what the model returned for each of its rows, and the fields `model` and `usage` of the answer."""

    payload: T
    outputs: list[list[float]]
    about: dict[str, Any]


def require_width(dimensions: int | None, width: int) -> None:
    """Raise RequestError for vectors of another length than the model's: it was not trained to be cut."""
    if dimensions not in (None, width):
        raise RequestError(f"dimensions: the vectors of this model have {width} numbers, not {dimensions}")


def base64_of(vector: list[float]) -> str:
    """Return the numbers of a vector as 32-bit floats, lowest byte first, in base64."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def relevances(vectors: list[list[float]]) -> list[float]:
    """Return the cosines of the first vector and each of the others; all have the length 1."""
    query, *documents = np.asarray(vectors)
    return (np.stack(documents) @ query).tolist()


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + exp(-logit)), for logits of any size."""
    return (1 + math.tanh(logit / 2)) / 2
