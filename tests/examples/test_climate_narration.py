"""The stages in a model's words: no number but the given ones, paid once, and never at the cost of the pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tau import AgentError, ExecutionError, agents

CLIMATE = Path(__file__).resolve().parents[2] / "examples" / "climate"
SMALL = {"resamples": 100, "triangle_resamples": 20, "series": 20, "every": 12}
LINES = [
    "CO2: 2284 weeks, 1958 to 2001, 59 of them empty",
    "12,561 periods: 68% warm",
    "Warming: 0.195 K (-0.17 to 0.23)",
]


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CLIMATE))


@pytest.mark.parametrize(
    ("sentence", "foreign"),
    [
        ("It warmed by 0.195 K, or 0.2 K, or 0.20 K.", []),
        ("In 2,284 weeks from 1958 to 2001, 59 were empty.", []),
        ("Of 12561 periods 68% warm.", []),
        ("Over 18 years it warmed by 0.19 K.", ["18", "0.19"]),
        ("It warmed by 0.1950 K since 1959.", ["1959"]),
        ("No number at all.", []),
    ],
)
def test_a_number_is_one_of_the_given_rounded_to_what_is_shown(sentence: str, foreign: list[str]) -> None:
    import narration

    assert narration.foreign_numbers(sentence, LINES) == foreign


@pytest.mark.parametrize(
    ("answers", "by", "why"),
    [
        (["Some \x1b59 weeks\n are empty."], "scripted", None),
        (["It was 7 weeks.", "59 weeks are empty."], "scripted", None),
        (["7.", "8.", "9."], "the figures", "the model named 9, no figure of ours"),
        (["", "x" * 500, " "], "the figures", "the model had no short sentence"),
        ([AgentError("no")], "the figures", "the model gave no answer: AgentError"),
    ],
)
def test_a_sentence_is_asked_for_again_and_then_left_out(answers: list[Any], by: str, why: str | None) -> None:
    import narration

    told = narration.told(agents.scripted(answers), LINES)
    assert (told["by"], told.get("why")) == (by, why)
    assert "\x1b" not in told["text"]
    if why:
        assert told["text"] == f"{'; '.join(LINES)}."


def test_what_was_said_is_not_asked_for_again_and_the_report_is_the_same(tmp_path: Path) -> None:
    import pipeline

    asked: list[str] = []

    def model(call: agents.Call) -> str:
        asked.append(str(call.messages[-1]["content"]))
        if len(asked) == 3:
            raise OSError("the power went off")
        return "It is as it is."

    store = f"sqlite:///{tmp_path}/runs.db"
    graph = pipeline.build(store, narrator=agents.function(model))
    with pytest.raises(ExecutionError):
        graph.execute({**SMALL, "out_dir": str(tmp_path / "told")}, run_id="told", seed=1)
    assert len(asked) == 3
    final = graph.resume("told")
    assert len(asked) == 5, "ingest and preprocess were told before, the analysis twice, the report once"
    assert final["narration_ingest"] == {"text": "It is as it is.", "by": "function"}
    graph.store.close()
    silent = pipeline.build(store)
    silent.execute({**SMALL, "out_dir": str(tmp_path / "silent")}, run_id="silent", seed=1)
    silent.store.close()
    for name in ("report.json", "report.html"):
        assert (tmp_path / "told" / name).read_bytes() == (tmp_path / "silent" / name).read_bytes()


def test_a_demo_whose_model_is_away_ends_well_and_says_so(tmp_path: Path) -> None:
    away = {"name": "ollama", "base_url": "http://127.0.0.1:9", "model": {"name": "none"}}
    (tmp_path / "agent.json").write_text(json.dumps({"name": "away", "client": {"provider": away}}))
    done = demo(tmp_path, "--agent", "agent.json")
    assert "(words of the figures) (the model gave no answer: AgentConnectionError)" in " ".join(done.split())


@pytest.mark.deep
def test_a_demo_with_a_real_model_tells_every_stage(tmp_path: Path) -> None:
    done = " ".join(demo(tmp_path, "--narrate").split())
    assert done.count("(words of ") == 4
    assert "smollm2-135m" in done


def demo(folder: Path, *options: str) -> str:
    small = (text for name, value in SMALL.items() for text in (f"--{name.replace('_', '-')}", str(value)))
    command = [sys.executable, str(CLIMATE / "demo.py"), *small, "--every", "4", *options]
    environment = {**os.environ, "PYTHONPATH": str(CLIMATE.parents[1] / "src"), "COLUMNS": "100"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
