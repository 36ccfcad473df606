"""Error responses in OpenAI's shape; an error of the server itself is never shown to a client."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

MAX_SHOWN_CHARACTERS = 200
"""Of a name that a request gave, in an error."""


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """Return an error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_event(status: int, message: str) -> bytes:
    """Return an error as a server-sent event, the last of a stream."""
    return b"data: " + orjson.dumps(error_body(status, message)) + b"\n\n"


def error_response(
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error response in OpenAI's shape."""
    return JSONResponse(error_body(status, message, param, code), status_code=status, headers=headers)


async def bad_request(_: Request, error: Exception) -> JSONResponse:
    """Return status 400 with the first problem of the request."""
    if not isinstance(error, ValidationError):
        return error_response(400, str(error), code=getattr(error, "code", None))
    # A union reports every branch: the one whose items fit has too many or too few, else the longest path
    # fits best.
    problems = error.errors(include_url=False, include_input=False)
    problem = max(problems, key=lambda problem: (problem["type"] in ("too_long", "too_short"), len(problem["loc"])))
    if problem["type"] == "json_invalid":
        return error_response(400, _not_json(problem["msg"].removeprefix("Invalid JSON: ")))
    path = ".".join(str(part) for part in problem["loc"] if "[" not in str(part))[:MAX_SHOWN_CHARACTERS]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "this server does not know this field"
    return error_response(400, f"{path}: {message}" if path else message, param=path or None)


def _not_json(reason: str) -> str:
    """Return what is wrong with a body, from the parser's words, which end with `at line 1 column 17`."""
    where = reason[reason.rfind(" at line ") :]
    if reason.startswith("recursion limit"):
        return f"the body is nested too deeply{where}"
    if "surrogate" in reason or "end of hex escape" in reason:
        return f"the body has half of a surrogate pair, which is no character{where}"
    return f"the body is not JSON: {reason}"


async def http_error(request: Request, error: Any) -> JSONResponse:
    """Return the error with its own status; an unknown path or method is named."""
    message, code = str(error.detail), None
    if error.status_code == 404:
        code = "model_not_found" if message.startswith("the model") else None
        message = message if code else f"there is nothing at {request.method} {request.url.path}"
    if error.status_code == 405:
        message = f"{request.url.path} does not take {request.method}"
    return error_response(error.status_code, message, code=code, headers=error.headers)


async def server_error(_: Request, __: Exception) -> JSONResponse:
    """Return status 500 without the reason, which uvicorn logs."""
    return error_response(500, "the server failed to answer; its log says why")
