"""Models that write no text, over HTTP: an embedding, a classifier, a cross-encoder."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from fastapi.testclient import TestClient
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from components.classes import Classes
from components.config.groups.serve import Serve
from components.inference.app import Room, base_app
from components.inference.pooling import PoolingEngine
from components.inference.pooling_api import create_pooling_app, sigmoid
from components.inference.server import listening

WORDS = ["what", "is", "the", "capital", "of", "france", "paris", "berlin", "a", "metal", "tree", "zinc", "elm"]
TEXTS = ["zinc", "what is the capital of france", "elm tree", "the metal zinc", "paris", "a"]


def engine_of(model: Any, tokenizer: Any, classes: Classes | None = None, length: int = 32) -> PoolingEngine:
    return PoolingEngine(model, tokenizer, classes, None, length, 4)


def served(engine: PoolingEngine, key: str | None = None, **settings: Any) -> Any:
    serve = Serve(drain_timeout=1, verbose=False, **settings)
    return listening(create_pooling_app(engine, "m", key, serve), 1, "127.0.0.1", 0, key)


@pytest.fixture(scope="module")
def embedding(tiny_model: Path) -> Iterator[tuple[PoolingEngine, str]]:
    model, tokenizer = AutoModel.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    with engine_of(model, tokenizer) as engine, served(engine) as url:
        yield engine, url


def encoder(labels: int) -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """A tiny BERT, which marks the second text of a pair."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), num_labels=labels, initializer_range=0.5, **sizes)
    return BertForSequenceClassification(config).eval(), PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def post(url: str, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url.removesuffix('/v1')}{path}", json=body, timeout=60)


def test_vectors_by_the_openai_client_are_those_of_transformers(
    embedding: tuple[PoolingEngine, str], tiny_model: Path
) -> None:
    _, url = embedding
    client = openai.OpenAI(base_url=url, api_key="none")
    assert [model.id for model in client.models.list()] == ["m"]
    answer = client.embeddings.create(model="m", input=TEXTS)  # in base64, as the client asks for
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), AutoModel.from_pretrained(tiny_model)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    for row, data in zip(ids, answer.data, strict=True):
        with torch.no_grad():
            state = model(torch.tensor([row])).last_hidden_state[0, -1]
        assert data.embedding == pytest.approx(torch.nn.functional.normalize(state, dim=0).tolist(), abs=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, ids))
    numbers = client.embeddings.create(model="m", input=TEXTS[0], encoding_format="float").data[0].embedding
    assert numbers == pytest.approx(answer.data[0].embedding, abs=1e-6)
    for given in (ids[1], [ids[1]]):
        assert client.embeddings.create(model="m", input=given).data[0].embedding == answer.data[1].embedding
    raw = post(url, "/v1/embeddings", input=TEXTS[0], encoding_format="base64").json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(raw), "<f4").tolist() == pytest.approx(numbers, abs=1e-6)


def test_many_clients_get_their_own_vectors(embedding: tuple[PoolingEngine, str]) -> None:
    _, url = embedding
    texts = [f"{word} {n}" for word in WORDS for n in range(3)]
    alone = [post(url, "/v1/embeddings", input=text).json()["data"][0]["embedding"] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: post(url, "/v1/embeddings", input=text).json(), texts))
    for one, other in zip(alone, together, strict=True):
        assert other["data"][0]["embedding"] == pytest.approx(one, abs=1e-5)


def test_a_list_of_texts_takes_turns_with_the_text_of_another(embedding: tuple[PoolingEngine, str]) -> None:
    engine, _ = embedding
    ended: list[str] = []
    many = [engine.submit(engine.row("what is the capital"), "many") for _ in range(200)]
    one = engine.submit(engine.row("zinc"), "one")
    for name, future in (("many", many[-1]), ("one", one)):
        future.add_done_callback(lambda _, name=name: ended.append(name))
    many[-1].result(60)
    assert ended == ["one", "many"]


def test_token_ids_share_a_batch_with_texts_that_have_token_types() -> None:
    model, tokenizer = encoder(3)
    with engine_of(model, tokenizer, Classes.of(model.config)) as engine:
        text, ids = engine.row("zinc"), {"input_ids": tokenizer("elm tree")["input_ids"]}
        assert "token_type_ids" in text
        alone = [engine.submit(row).result(60) for row in (text, ids)]
        blocker = [engine.submit(text) for _ in range(8)]  # the next two wait, and are computed together
        together = [engine.submit(row) for row in (text, ids)]
        assert [future.result(60) for future in blocker] == [pytest.approx(alone[0], abs=1e-5)] * 8
        for future, expected in zip(together, alone, strict=True):
            assert future.result(60) == pytest.approx(expected, abs=1e-5)


def test_scores_of_any_size_are_between_0_and_1() -> None:
    assert [sigmoid(logit) for logit in (-1e4, 0.0, 1e4)] == [0, 0.5, 1]


def test_an_error_of_the_server_is_counted_as_one() -> None:
    app = base_app(None, Serve(verbose=False), Room(1, lambda: (0, 0)), 1000)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert client.get("/broken").status_code == 500
    assert 'martlet_requests_total{path="other",status="500"} 1.0' in client.get("/metrics").text


def test_documents_are_ranked_by_the_cosine_of_their_vectors(embedding: tuple[PoolingEngine, str]) -> None:
    _, url = embedding
    answer = post(url, "/v1/rerank", query=TEXTS[0], documents=TEXTS, top_n=3).json()
    vectors = [row["embedding"] for row in post(url, "/v1/embeddings", input=TEXTS).json()["data"]]
    cosines = [float(np.dot(vectors[0], vector)) for vector in vectors]
    best = sorted(range(len(TEXTS)), key=lambda i: -cosines[i])[:3]
    assert [result["index"] for result in answer["results"]] == best
    assert best[0] == 0
    assert answer["results"][0]["document"] == {"text": TEXTS[0]}
    assert [r["relevance_score"] for r in answer["results"]] == pytest.approx([cosines[i] for i in best], abs=1e-5)
    short = post(url, "/rerank", query="zinc", documents=["elm"], return_documents=False).json()
    assert short["results"][0].keys() == {"index", "relevance_score"}


def test_a_classifier_tells_classes_and_a_cross_encoder_ranks_as_transformers_does() -> None:
    model, tokenizer = encoder(3)
    with engine_of(model, tokenizer, Classes.of(model.config)) as engine, served(engine) as url:
        answer = post(url, "/classify", input=TEXTS).json()
        assert post(url, "/v1/embeddings", input=TEXTS).status_code == 404
        assert post(url, "/rerank", query="a", documents=["a"]).status_code == 404
        message = post(url, "/classify", messages=[{"role": "user", "content": "a"}]).json()["error"]["message"]
        assert message == "messages: the model has no chat template; send the text as `input`"
    for text, row in zip(TEXTS, answer["data"], strict=True):
        with torch.no_grad():
            shares = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
        assert row["probs"] == pytest.approx(shares.tolist(), abs=1e-5)
        assert row["label"] == f"LABEL_{shares.argmax()}"
    model, tokenizer = encoder(1)
    with engine_of(model, tokenizer, Classes.of(model.config)) as engine, served(engine) as url:
        results = post(url, "/rerank", query="what is the capital of france", documents=TEXTS).json()["results"]
        assert post(url, "/classify", input="zinc").json()["data"][0]["label"] is None
    for result in results:
        pair = tokenizer("what is the capital of france", TEXTS[result["index"]], return_tensors="pt")
        with torch.no_grad():
            score = model(**pair).logits[0, 0].sigmoid().item()
        assert result["relevance_score"] == pytest.approx(score, abs=1e-5)
    assert [r["relevance_score"] for r in results] == sorted((r["relevance_score"] for r in results), reverse=True)
    assert len({round(r["relevance_score"], 4) for r in results}) > 2


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/embeddings", {"input": ""}, 400, "the text is empty"),
        ("/v1/embeddings", {"input": []}, 400, "input: List should have at least 1 item"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, 400, "input: List should have at most 2048 items"),
        ("/v1/embeddings", {"input": [{}] * 100_000}, 400, "input.0: Input should be a valid"),
        ("/v1/embeddings", {"input": [1, 10**9]}, 400, "1000000000 is no token id; they are 0 to"),
        ("/v1/embeddings", {"input": [-1]}, 400, "-1 is no token id"),
        ("/v1/embeddings", {"input": [[]]}, 400, "the text is empty"),
        ("/v1/embeddings", {"input": "zinc " * 500}, 400, "tokens, and the model reads 32"),
        (
            "/v1/embeddings",
            {"input": "a", "dimensions": 7},
            400,
            "vectors of this model have 64 numbers",
        ),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 400, "encoding_format: Input should be"),
        ("/v1/embeddings", {"input": "a", "truncate": True}, 400, "truncate: this server does not know this field"),
        ("/v1/embeddings", {"input": "a", "model": "x"}, 404, "the model 'x' does not exist; this server has: m"),
        ("/v1/embeddings", {}, 400, "input: Field required"),
        ("/rerank", {"query": "a", "documents": []}, 400, "documents: "),
        ("/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, 400, "top_n: "),
        ("/v1/chat/completions", {"messages": []}, 404, "there is nothing at POST /v1/chat/completions"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    embedding: tuple[PoolingEngine, str], path: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = post(embedding[1], path, **body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_the_key_the_limit_of_waiting_texts_and_the_measurements(tiny_model: Path) -> None:
    model, tokenizer = AutoModel.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    with engine_of(model, tokenizer) as engine, served(engine, "sesame", max_waiting_requests=1) as url:
        assert post(url, "/v1/embeddings", input="a").status_code == 401
        client = httpx.Client(base_url=url.removesuffix("v1"), headers={"Authorization": "Bearer sesame"}, timeout=60)

        def ask(number: int) -> int:
            return client.post("/v1/embeddings", json={"input": [f"a {number}"] * 200}).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(32)))
        assert {200, 429} == set(statuses)
        page = client.get("/metrics").text
    assert f'martlet_requests_total{{path="/v1/embeddings",status="200"}} {statuses.count(200)}.0' in page
    tokens = sum(len(tokenizer(f"a {n}")["input_ids"]) * 200 for n, status in enumerate(statuses) if status == 200)
    assert f'martlet_tokens_total{{kind="prompt"}} {tokens}.0' in page
