"""Servers of models, each in a process of its own, on loopback, for as long as the tests of this process run."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tau.testing import ServerProcess

HERE = Path(__file__).parent
PATIENCE = 60


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Front:
    """The server of `front_program`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def told(self, model: str, count: int = 0) -> dict[str, Any]:
        """What was asked of a model and answered, once there were so many requests."""
        query = urllib.parse.urlencode({"model": model, "count": count})
        with urllib.request.urlopen(f"{self.url}/requests?{query}", timeout=PATIENCE) as found:
            told: dict[str, Any] = json.load(found)
            return told

    def requests(self, model: str, count: int = 0) -> list[Any]:
        found: list[Any] = self.told(model, count)["requests"]
        return found


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    port = free_port()
    with ServerProcess([sys.executable, str(HERE / "front_program.py"), str(port)], ready="Uvicorn running on"):
        yield Front(port)


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The address of a real model: SmolLM2-135M on llama.cpp."""
    with ServerProcess([sys.executable, str(HERE / "llama_program.py")], ready="ready at http") as server:
        found = next(re.search(r"ready at (\S+)", line) for line in server.lines if "ready at" in line)
        assert found is not None
        yield found[1]


@pytest.fixture(scope="session")
def ollama_proxy(llama: str) -> Iterator[str]:
    """The address of a server by other authors that speaks Ollama's protocol for that model."""
    port = free_port()
    program = Path(sys.executable).with_name("ollama-proxy")
    given = {"PROVIDERS_VLLM_API_KEY": "EMPTY", "PROVIDERS_VLLM_BASE_URL": f"{llama}/v1"}
    command = [str(program), "--host", "127.0.0.1", "--port", str(port)]
    with ServerProcess(command, ready="Uvicorn running on", env={**os.environ, **given}):
        yield f"http://127.0.0.1:{port}"
