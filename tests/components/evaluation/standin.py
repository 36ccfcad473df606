"""A stand-in for a server: it speaks OpenAI's API on loopback and answers as each test wants."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

Reply = Callable[[str], Any]


def completion(text: str) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": len(text.split()), "total_tokens": 3 + len(text.split())},
    }


@contextmanager
def answering(answer: Reply, names: tuple[str, ...] = ("m",)) -> Generator[tuple[str, list[dict[str, Any]]]]:
    """A server whose answer to a question is `answer(question)`; yields its base URL and the requests it got."""
    app, requests = FastAPI(), []

    @app.get("/v1/models")
    def models() -> Any:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> Any:
        requests.append(body)
        reply = answer(body["messages"][-1]["content"])
        return completion(reply) if isinstance(reply, str) else reply

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", requests
        finally:
            server.should_exit = True
            thread.join()
