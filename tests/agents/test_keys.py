"""Keys, tokens and passwords: where they come from, and that they are in nothing that is shown or stored."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from pathlib import Path

import pytest
from front_agents import KEY, ONCE, agent_of
from model_servers import Front, free_port

import tau
from tau.agents import Agent
from tau.agents.errors import AgentAuthenticationError, AgentConnectionError
from tau.errors import AgentError, ConfigError


def test_azure_is_asked_by_key_or_by_token(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"deployment": "ok", "api_version": "2025-01-01"}
    monkeypatch.setenv("MY_AZURE_KEY", "canary-key")
    by_key = Agent("azure", "ok/azure", base_url=f"{front.url}/openai",
                   provider_options={**options, "api_key_env": "MY_AZURE_KEY"})  # fmt: skip
    tokens = iter(["canary-token"])
    by_token = Agent("azure", "ok/azure", base_url=front.url,
                     provider_options={**options, "auth_type": "bearer", "token": lambda: next(tokens)})  # fmt: skip
    assert (by_key.chat("hi").text, by_token.chat("hi").text) == ("answer 1", "answer 2")
    first, second = (one["headers"] for one in front.requests("ok/azure"))
    assert first["api-key"] == "canary-key"
    assert second["authorization"] == "Bearer canary-token"
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with pytest.raises(AgentAuthenticationError, match="set AZURE_OPENAI_API_KEY"):
        Agent("azure", "gpt", base_url=front.url).chat("hi")
    with pytest.raises(ConfigError, match="Azure needs the address"):
        Agent("azure", "gpt")


async def test_on_no_error_hangs_one_of_the_client_which_holds_its_request(front: Front, protocol: str) -> None:
    async def read(agent: Agent) -> list[str]:
        return [piece async for piece in agent.achat_stream("hi")]

    away = Agent(
        protocol, "m", base_url=f"http://127.0.0.1:{free_port()}", retry=ONCE, provider_options={"api_key": KEY}
    )
    agents_ = [agent_of(front, protocol, f"{one}/{protocol}-chain", retry=ONCE) for one in ("401", "html", "503")]
    for agent in [*agents_, away]:
        for call in (lambda: agent.achat("hi"), lambda: read(agent), lambda: asyncio.to_thread(agent.chat, "hi")):  # noqa: B023
            with pytest.raises(AgentError) as caught:
                await call()
            assert caught.value.__cause__ is caught.value.__context__ is None
            told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            assert KEY not in "".join(told.format())


def test_a_password_in_an_address_is_in_no_message() -> None:
    agent = Agent("ollama", "m", base_url=f"http://user:hunter2@127.0.0.1:{free_port()}", retry=ONCE)
    with pytest.raises(AgentConnectionError) as caught:
        agent.chat("hi")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.address)
    assert "hunter2" not in shown
    assert "user" not in caught.value.address


@pytest.mark.parametrize("key", [{}, {"api_key": KEY}])
def test_a_password_in_an_address_is_sent_and_written_into_no_log(
    front: Front, protocol: str, key: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    model = f"ok/password-{protocol}-{len(key)}"
    url = front.url.replace("//", "//user:hunter%32@") + ("" if protocol == "ollama" else "/v1")
    with caplog.at_level(logging.DEBUG):
        assert Agent(protocol, model, base_url=url, provider_options=key).chat("hi").text == "answer 1"
    assert caplog.records
    assert not [one for one in caplog.records if "hunter" in one.getMessage()]
    sent = front.requests(model)[0]["headers"]["authorization"]
    basic = f"Basic {base64.b64encode(b'user:hunter2').decode()}"
    assert sent == (basic if protocol == "openai" or not key else f"Bearer {KEY}")


def test_a_key_is_missing_or_its_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AgentAuthenticationError, match=r"no key for https://api\.openai\.com/v1: set OPENAI_API_KEY"):
        Agent("openai", "gpt").chat("hi")
    named = Agent("openai", "gpt", provider_options={"api_key_env": "NO_SUCH_KEY"})
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set"):
        named.chat("hi")


def test_the_line_end_of_a_key_is_not_sent(front: Front, protocol: str) -> None:
    agent = agent_of(front, protocol, f"ok/line-{protocol}", provider_options={"api_key": f"{KEY}\n"})
    agent.chat("hi")
    assert front.requests(f"ok/line-{protocol}")[0]["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["canary\nkey", "canary\N{CYRILLIC SMALL LETTER A}", "canary\udc80"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(front: Front, protocol: str, key: str) -> None:
    with pytest.raises(ConfigError, match=r"the api_key for .* has a character that no key has") as raised:
        agent_of(front, protocol, "ok/no-key", provider_options={"api_key": key}).chat("hi")
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None


def test_no_key_is_in_the_log(front: Front, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    agent = agent_of(front, protocol, f"ok/log-{protocol}")
    assert agent.chat("hi").text == "answer 1"
    assert front.requests(f"ok/log-{protocol}")[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text + repr(agent) + repr(agent.config)


def test_no_key_is_in_the_store_or_an_event_of_a_run_that_failed_because_of_it(
    front: Front, protocol: str, tmp_path: Path
) -> None:
    events: list[tau.Event] = []
    graph = tau.StateGraph("g", store=f"sqlite:///{tmp_path}/runs.db", observer=events.append)
    graph.add_node("ask", agent_of(front, protocol, f"401/store-{protocol}").node("hi"))
    graph.sequence("ask")
    with pytest.raises(tau.ExecutionError, match="refused the key"):
        graph.execute({}, run_id="r")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"refused the key" in stored
    assert KEY.encode() not in stored
    assert KEY not in repr(events)
