"""Agents on the server of the tests' own."""

from __future__ import annotations

from typing import Any

from model_servers import Front

from tau.agents import Agent
from tau.config import Retry

ONCE = Retry(attempts=1)

QUICK = Retry(attempts=3, delay=0.01, max_delay=0.02)

KEY = "sk-canary-key"


def agent_of(front: Front, protocol: str, model: str, **options: Any) -> Agent:
    url = front.url if protocol == "ollama" else f"{front.url}/v1"
    options = {"retry": QUICK, "provider_options": {"api_key": KEY}, **options}
    return Agent(protocol, model, base_url=url, **options)
