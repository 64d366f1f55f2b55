"""`AgentConfig`: the origin's JSON, durations, and errors that name the path of the key."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import tau
from tau import agents
from tau.agents.config import AgentConfig, ClientConfig, ModelConfig, ProviderConfig, Secret, duration
from tau.agents.providers.failures import retry_after
from tau.errors import ConfigError

ORIGIN = """{
  "name": "llama-agent",
  "client": {
    "provider": {
      "name": "ollama",
      "base_url": "http://localhost:11434",
      "model": {"name": "llama3.2:3b", "capabilities": {"chat": {"max_tokens": 150}}}
    }
  }
}"""
WHOLE: dict[str, Any] = {
    "name": "llama-agent",
    "system_prompt": "You are an analyst.",
    "client": {
        "provider": {
            "name": "ollama",
            "base_url": "http://localhost:11434",
            "model": {"name": "llama3.2:3b", "capabilities": {"chat": {"max_tokens": 150}, "tools": {}}},
            "options": {"api_key_env": "MY_KEY"},
        },
        "timeout": "24s",
        "retry": {
            "max_retries": 3,
            "initial_backoff": "1s",
            "max_backoff": "30s",
            "backoff_multiplier": 2.0,
            "jitter": True,
        },
        "connection_pool_size": 10,
        "connection_timeout": "9s",
        "max_wait": "1m",
    },
}


def test_the_very_json_of_the_origin_makes_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.llama.json"
    path.write_text(ORIGIN)
    config = AgentConfig.from_file(path)
    assert config.name == "llama-agent"
    assert config.client.provider.base_url == "http://localhost:11434"
    assert config.client.provider.model == ModelConfig("llama3.2:3b", {"chat": {"max_tokens": 150}})


def test_settings_of_the_client_are_read() -> None:
    client = AgentConfig.from_json(json.dumps(WHOLE)).client
    assert (client.timeout, client.connection_timeout, client.connection_pool_size, client.max_wait) == (24, 9, 10, 60)
    retry = client.retry
    assert (retry.attempts, retry.delay, retry.max_delay, retry.backoff, retry.jitter) == (4, 1.0, 30.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("24s", 24), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), (7, 7), (0.25, 0.25)]
)
def test_a_duration_is_seconds_or_text_with_units(text: Any, seconds: float) -> None:
    assert duration("client.timeout", text) == pytest.approx(seconds)


@pytest.mark.parametrize("bad", ["24", "s", "24 s", "-1s", "1x", "", "1s2", True, None, float("inf"), 0, [1]])
def test_a_bad_duration_is_refused_with_the_path_of_the_key(bad: Any) -> None:
    given = copy.deepcopy(WHOLE)
    given["client"]["timeout"] = bad
    with pytest.raises(ConfigError, match=r"^client\.timeout: expected"):
        AgentConfig.from_dict(given)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nam", "nam: unknown key"),
        ("client.time_out", "client.time_out: unknown key"),
        ("client.provider.url", "client.provider.url: unknown key"),
        ("client.provider.model.nam", "client.provider.model.nam: unknown key"),
        ("client.provider.model.capabilities.chatt", "client.provider.model.capabilities.chatt: unknown capability"),
        ("client.retry.retries", "client.retry.retries: unknown key"),
    ],
)
def test_an_unknown_key_is_refused_with_its_path(path: str, said: str) -> None:
    given = copy.deepcopy(WHOLE)
    *above, last = path.split(".")
    place = given
    for part in above:
        place = place[part]
    place[last] = {}
    with pytest.raises(ConfigError) as caught:
        AgentConfig.from_dict(given)
    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["name", "client", "client.provider", "client.provider.name", "client.provider.model"])
def test_a_missing_key_is_named(path: str) -> None:
    given = copy.deepcopy(WHOLE)
    *above, last = path.split(".")
    place = given
    for part in above:
        place = place[part]
    del place[last]
    with pytest.raises(ConfigError) as caught:
        AgentConfig.from_dict(given)
    assert str(caught.value).startswith(f"{path}: missing")


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"wrong\.json: the configuration is not JSON"):
        AgentConfig.from_file(path)


def test_a_key_is_neither_shown_nor_sent_to_other_processes() -> None:
    config = ProviderConfig("openai", ModelConfig("m"), options={"api_key": "sk-canary", "organization": "o"})
    assert "canary" not in repr(ClientConfig(config)) + repr(config)
    assert config.options["api_key"].reveal() == "sk-canary"
    sent = pickle.dumps(config.options["api_key"])
    assert b"canary" not in sent
    with pytest.raises(ConfigError, match="api_key_env"):
        pickle.loads(sent).reveal()
    assert isinstance(config.options["api_key"], Secret)


def test_options_of_a_call_are_merged_over_those_of_its_capability() -> None:
    seen: list[Any] = []
    agent = agents.function(
        lambda call: seen.append(call.parameters) or "x", options={"chat": {"max_tokens": 5, "a": 1}}
    )
    agent.chat("hi", max_tokens=9)
    assert seen == [{"max_tokens": 9, "a": 1}]


def test_a_system_prompt_is_put_before_a_prompt_without_one() -> None:
    seen: list[Any] = []
    agent = agents.function(lambda call: seen.append(call.messages) or "x", system_prompt="Be short.")
    agent.chat("hi")
    agent.chat("hi", system="Be long.")
    agent.chat([{"role": "system", "content": "mine"}, {"role": "user", "content": "hi"}])
    assert [one[0] for one in seen] == [
        {"role": "system", "content": text} for text in ("Be short.", "Be long.", "mine")
    ]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (3, "the prompt: expected text or a list of messages"),
        ([], "the prompt"),
        ([{"role": "robot", "content": ""}], r"messages\[0\].role: expected one of system"),
        ([{"role": "user", "text": ""}], r"messages\[0\].text: unknown key"),
        ([{"role": "user", "content": 3}], r"messages\[0\].content: expected text"),
        (["hi"], r"messages\[0\]: expected a message"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(prompt: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        agents.scripted(["x"]).chat(prompt)


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"client\.provider\.name: unknown provider 'olama'"):
        agents.Agent("olama", "llama3.2:3b")


def test_what_is_given_beside_a_configuration_replaces_what_stands_there() -> None:
    config = AgentConfig.from_dict(WHOLE)
    agent = agents.Agent(
        config, name="other", options={"chat": {"temperature": 0}}, timeout="5s", base_url="http://h:1"
    )
    client = agent.config.client
    assert (agent.name, agent.config.system_prompt, client.timeout) == ("other", "You are an analyst.", 5.0)
    assert (client.connection_timeout, client.retry.attempts) == (9.0, 4)
    assert client.provider.model.capabilities == {"chat": {"temperature": 0}, "tools": {}}
    assert (client.provider.base_url, client.provider.options) == ("http://h:1", {"api_key_env": "MY_KEY"})
    assert agents.Agent(config).config == config


def test_an_agent_goes_to_another_process_without_its_key() -> None:
    agent = agents.Agent("ollama", "m", provider_options={"api_key": "sk-canary"}, base_url="http://u:pw@h:1")
    agent._asking.provider.place.secrets.add("sk-canary")  # type: ignore[attr-defined]
    sent = cloudpickle.dumps(agent)
    assert b"canary" not in sent
    assert cloudpickle.loads(sent).config.name == "m"
    assert "pw" not in repr(agent) + repr(agent.config)
    script = agents.scripted({"a": "b"})
    assert cloudpickle.loads(cloudpickle.dumps(script)).chat("a").text == "b"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_the_time_that_a_server_asks_for_is_read_in_all_its_forms(headers: Any, seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_an_agent_without_a_model_and_a_file_that_is_not_there_are_configuration_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'^model: missing; name the model, as in Agent\(\'ollama\', "llama'):
        agents.Agent("ollama")
    with pytest.raises(ConfigError, match=r"nope\.json: .* cannot be read: No such file"):
        AgentConfig.from_file(tmp_path / "nope.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"provider_options": {"api_key_en": "X"}},
            r"^provider_options\.api_key_en: unknown option of openai; .*_env'",
        ),
        ({"options": {"chat": {"temprature": 1}}}, r"^options\.chat\.temprature: .* did you mean 'temperature'"),
        ({"options": {"chat": {"maxTokens": 1}}}, "did you mean 'max_tokens'"),
        ({"options": {"api_key_env": "X"}}, r"^options\.api_key_env: .* as in provider_options=\{\"api_key_env\": "),
        ({"options": {"temperature": 0.2}}, r'^options\.temperature: .* as in \{"chat": \{"temperature": '),
    ],
)
def test_an_option_that_nobody_takes_is_refused_where_it_was_written(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        agents.Agent("openai", "gpt", **given)


def test_mistyped_options_of_a_file_and_of_a_call_are_refused_and_those_of_a_server_are_not() -> None:
    wrong = copy.deepcopy(WHOLE)
    wrong["client"]["provider"]["options"] = {"nonsense": 1}
    with pytest.raises(ConfigError, match=r"^client\.provider\.options\.nonsense: unknown option"):
        AgentConfig.from_dict(wrong)
    seen: list[Any] = []
    agent = agents.function(lambda call: seen.append(call.parameters) or "x")
    with pytest.raises(ConfigError, match=r"^chat\.temprature: unknown option; did you mean 'temperature'\?"):
        agent.chat("hi", temprature=1)
    with pytest.raises(ConfigError, match=r"^chat\.schma: unknown option; did you mean 'schema'\?"):
        agent.chat("hi", schma=int)
    agent.chat("hi", guided_choice=["a"], top_k=3, repetition_penalty=1.1)
    assert seen == [{"guided_choice": ["a"], "top_k": 3, "repetition_penalty": 1.1}]


@pytest.mark.parametrize(
    ("name", "said"),
    [("temperature", 'options={"chat": {"temperature"'), ("api_key", "provider_options="), ("sytem_prompt", "did you")],
)
def test_an_argument_that_belongs_elsewhere_says_where(name: str, said: str) -> None:
    with pytest.raises(TypeError) as caught:
        agents.Agent("openai", "gpt", **{name: "x"})  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_an_agent_and_its_answer_in_the_wrong_place_say_what_belongs_there() -> None:
    agent = agents.scripted({"hi": "ho"})
    graph = tau.StateGraph("wrong", store="memory:")
    with pytest.raises(tau.GraphError, match=r"expected a callable, found Agent: .*; give it agent\.node\("):
        graph.add_node("agent", agent)
    graph.add_node("ask", lambda _: {"x": agent.chat("hi")})
    graph.sequence("ask")
    with pytest.raises(tau.ExecutionError, match=r"store its \.text"):
        graph.execute({})
    with pytest.raises(AttributeError, match=r"from tau\.agents import Agent"):
        _ = tau.Agent
