"""Servers of models, each in a process of its own, on loopback, for as long as the tests of this process run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers import Front, free_port

from tau.testing import ServerProcess

HERE = Path(__file__).parent
CLIMATE = HERE.parents[1] / "examples" / "climate"


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    port = free_port()
    with ServerProcess([sys.executable, str(HERE / "front_program.py"), str(port)], ready="Uvicorn running on"):
        yield Front(port)


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The address of a real model: SmolLM2-135M on llama.cpp."""
    with ServerProcess([sys.executable, str(CLIMATE / "model_server.py")], ready="^ready at http") as server:
        found = next(re.search(r"^ready at (\S+)$", line) for line in server.lines if line.startswith("ready at"))
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


@pytest.fixture(params=["ollama", "openai"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)
