"""A server of the tests' own that speaks Ollama's and OpenAI's protocol: what it does is said by the name of the model,
``BEHAVIOUR/anything``; requests are counted by the whole name."""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

seen: dict[str, list[Any]] = defaultdict(list)
answered: dict[str, list[str]] = defaultdict(list)
news = asyncio.Condition()
LIMIT = 20  # that may be at work at once on the model "limited"
at_work: list[str] = []


async def note(model: str, body: Any) -> int:
    async with news:
        seen[model].append(body)
        news.notify_all()
        return len(seen[model])


async def requests(request: Request) -> Response:
    """What was asked of a model, once there are so many requests."""
    model, count = request.query_params["model"], int(request.query_params.get("count", 0))
    async with news:
        await news.wait_for(lambda: len(seen[model]) >= count)
        return JSONResponse({"requests": seen[model], "answered": answered[model]})


def failing(behaviour: str, number: int, is_ollama: bool) -> Response | None:  # noqa: PLR0911
    """What a behaviour answers with an error, or with what is no answer."""
    name, _, how = behaviour.partition(":")
    if name == "missing":
        said: Any = "model 'missing/x' not found" if is_ollama else {"message": "The model does not exist", "code": 404}
        return JSONResponse({"error": said}, 404)
    if name in ("400", "401", "403", "500", "503"):
        text = "the key sk-canary-key is not valid" if name == "401" else "it\x1b[31m is\nwrong <b>here</b>"
        return JSONResponse({"error": {"message": text}}, int(name))
    if name == "once503":
        return JSONResponse({"error": {"message": "busy"}}, 503) if number == 1 else None
    if name == "429":
        return JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": how} if how else {})
    if name == "once429":
        return JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": how}) if number == 1 else None
    if name == "quota":
        return JSONResponse(
            {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, 429
        )
    if name == "html":
        return HTMLResponse("<html><body>Welcome to the <b>portal</b></body></html>")
    if name == "nothing":
        return Response(b"", media_type="application/json")
    if name == "context":
        return JSONResponse({"error": {"message": "the request exceeds the available context size"}}, 400)
    return None


async def enormous() -> AsyncIterator[bytes]:
    yield b'{"model": "enormous", "message": {"role": "assistant", "content": "'
    for _ in range(80):  # not for ever: a server goes on although its client is gone
        yield b"x" * (1 << 20)
        await asyncio.sleep(0)


def text_of(behaviour: str, number: int) -> str:
    if behaviour == "json":
        return '{"name": "Oslo", "people": 700000}'
    if behaviour == "json-later":
        return '{"name": "Oslo", "people": 700000}' if number > 1 else '{"name": "Oslo"}'
    if behaviour == "empty":
        return ""
    if behaviour == "hostile":
        return "\x1b]0;title\x07<script>alert(1)</script>"
    return f"answer {number}"


async def chat(request: Request) -> Response:
    body = await request.json()
    model = str(body["model"])
    behaviour = model.partition("/")[0]
    is_ollama = request.url.path == "/api/chat"
    body["headers"] = dict(request.headers)
    number = await note(model, body)
    if behaviour == "hang" or (behaviour == "hang-third" and number == 3):
        await asyncio.Event().wait()
    if (error := failing(behaviour, number, is_ollama)) is not None:
        return error
    if behaviour == "enormous":
        return StreamingResponse(enormous(), media_type="application/json")
    if behaviour == "limited":
        if len(at_work) == LIMIT:
            return JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": "0.1"})
        at_work.append(model)
        try:
            await asyncio.sleep(0.02)
        finally:
            at_work.remove(model)
    answered[model].append(str(body["messages"][-1]["content"]))
    text = text_of(behaviour, number)
    if body.get("stream"):
        media = "application/x-ndjson" if is_ollama else "text/event-stream"
        return StreamingResponse(streamed(text, behaviour, is_ollama), media_type=media)
    return JSONResponse(ollama(text, behaviour) if is_ollama else openai(text, behaviour))


def ollama(text: str, behaviour: str, done: bool = True) -> dict[str, Any]:
    told: dict[str, Any] = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": done}
    told["message"] = {"role": "assistant", "content": text}
    if behaviour == "tool" and done:
        told["message"]["tool_calls"] = [{"function": {"name": "add", "arguments": {"x": 1, "y": 2}}}]
    if done:
        reason = "length" if behaviour == "long" else "stop"
        count = 4096 if behaviour == "dropped" else 7
        told |= {"done_reason": reason, "prompt_eval_count": count, "eval_count": 3, "total_duration": 2_000_000_000}
    return told


def openai(text: str, behaviour: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if behaviour == "tool":
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1, "y": 2}'}}
        message |= {"tool_calls": [call]}
    reason = "length" if behaviour == "long" else "stop"
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


async def streamed(text: str, behaviour: str, is_ollama: bool) -> AsyncIterator[bytes]:
    words = text.split(" ")
    for at, word in enumerate(words):
        piece = word if at == 0 else f" {word}"
        if is_ollama:
            yield json.dumps(ollama(piece, behaviour, done=False)).encode() + b"\n"
        else:
            yield event([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        if behaviour == "cut":
            return
        if behaviour == "stall":
            try:
                await asyncio.Event().wait()
            finally:
                async with news:
                    seen["closed/" + behaviour].append("closed")
                    news.notify_all()
    if is_ollama:
        yield json.dumps(ollama("", behaviour)).encode() + b"\n"
    else:
        yield event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        yield event([], {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
        yield b"data: [DONE]\n\n"


def event(choices: list[Any], usage: Any = None) -> bytes:
    told = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(told).encode() + b"\n\n"


async def embed(request: Request) -> Response:
    body = await request.json()
    texts = body["input"]
    await note(str(body["model"]), body)
    if request.url.path == "/api/embed":
        return JSONResponse(
            {"model": "m", "embeddings": [[float(len(one)), 1.0] for one in texts], "prompt_eval_count": 4}
        )
    data = [{"object": "embedding", "index": at, "embedding": [float(len(one)), 1.0]} for at, one in enumerate(texts)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return JSONResponse({"object": "list", "model": "m", "data": data[::-1], "usage": usage})


app = Starlette(
    routes=[
        Route("/requests", requests),
        Route("/api/chat", chat, methods=["POST"]),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/openai/deployments/{name}/chat/completions", chat, methods=["POST"]),
        Route("/api/embed", embed, methods=["POST"]),
        Route("/v1/embeddings", embed, methods=["POST"]),
    ]
)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the process of the tests
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
