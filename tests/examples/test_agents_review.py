"""The review by agents: scripted unless a model is configured, and nothing is asked twice."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import tau
from tau import agents

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "agents" / "review.py"


def test_the_agents_agree_after_one_revision(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(tau.__path__[0]).parent), "TAU_NO_REQUESTS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    said = json.loads(done.stdout)
    assert said["revisions"] == 1
    assert all(verdict["approved"] for verdict in said["verdicts"].values())
    assert "(IPCC 2021)" in said["text"]


def test_a_configuration_makes_it_ask_a_model(tmp_path: Path) -> None:
    made = runpy.run_path(str(EXAMPLE))
    config = agents.AgentConfig.from_file(EXAMPLE.with_name("config.llama.json"))
    agent = made["agent"]("writer", "Be short.", config)
    assert (agent.name, agent.model, agent.config.system_prompt) == ("writer", "llama3.2:3b", "Be short.")
    assert len(EXAMPLE.read_text().splitlines()) < 100
