"""A real model on a llama.cpp server, asked in OpenAI's protocol, and in Ollama's through a server in front of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from tau.agents import Agent
from tau.agents.errors import PromptTooLongError

OPTIONS: dict[str, Any] = {"temperature": 0, "seed": 1, "max_tokens": 12}
PROMPT = "Summarise in one sentence: the mean was 401.2 ppm in 2015."


@pytest.fixture(params=["openai", "ollama"])
def agent(request: pytest.FixtureRequest, llama: str, ollama_proxy: str) -> Agent:
    options = {"chat": OPTIONS}
    if request.param == "openai":
        return Agent("openai", "smol", base_url=f"{llama}/v1", options=options)
    return Agent("ollama", "vllm/smol", base_url=ollama_proxy, options=options)


def test_a_chat_is_answered_with_usage_and_timings(agent: Agent) -> None:
    first, second = (agent.chat(PROMPT) for _ in range(2))
    assert first.text == second.text
    assert first.text
    assert first.id != second.id
    assert first.finish_reason in ("length", "stop")
    assert first.timings["duration_seconds"] > 0
    assert first.messages[-1] == {"role": "assistant", "content": first.text}


async def test_an_async_chat_gives_the_same(agent: Agent) -> None:
    assert (await agent.achat(PROMPT)).text == agent.chat(PROMPT).text


async def test_a_stream_comes_in_pieces_and_is_whole_at_its_end(agent: Agent) -> None:
    stream = agent.chat_stream(PROMPT)
    pieces = [*stream]
    assert len(pieces) > 1
    assert "".join(pieces) == stream.response.text == agent.chat(PROMPT).text
    later = agent.achat_stream(PROMPT)
    assert [piece async for piece in later] == pieces
    assert later.response.text == stream.response.text


@dataclass
class Reading:
    place: str
    year: int


def test_an_answer_fits_the_type_that_is_asked_for(agent: Agent) -> None:
    response = agent.chat("In which place and year? Oslo, 2015.", schema=Reading, max_tokens=60)
    assert isinstance(response.value, Reading)
    assert isinstance(response.value.year, int)


def test_equal_texts_have_equal_embeddings(llama: str) -> None:
    agent = Agent("openai", "smol", base_url=f"{llama}/v1")
    first, second, other = agent.embed(["warm water", "warm water", "a tax return"]).embeddings
    assert [*first] == pytest.approx([*second], abs=1e-3)
    assert math.dist(first, other) > 0.01


def test_a_prompt_that_does_not_fit_the_context_is_said_to_be_too_long(llama: str) -> None:
    agent = Agent("openai", "smol", base_url=f"{llama}/v1")
    with pytest.raises(PromptTooLongError, match="context"):
        agent.chat("word " * 1500)
