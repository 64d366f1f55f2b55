"""The notebook of the examples, in a real kernel: interrupted, restarted, run again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook" / "warming.ipynb"
SECONDS = 120.0  # a deadline


class Kernel:
    """A kernel, and what it prints."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.connect()

    def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def restart(self) -> None:
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.connect()

    def run(self, source: str, interrupt_at: str = "") -> tuple[str, list[dict[str, Any]], str]:
        """What a cell printed, what it displayed, and how it ended. It is interrupted once it has printed that."""
        asked = self.client.execute(source)
        printed, shown, strike = "", [], interrupt_at
        while True:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
                if strike and strike in printed:
                    self.manager.interrupt_kernel()
                    strike = ""
            elif kind == "execute_result":
                shown.append(content["data"])
            elif kind == "status" and content["execution_state"] == "idle":
                return printed, shown, self.reply(asked)

    def reply(self, asked: str) -> str:
        while (message := self.client.get_shell_msg(timeout=SECONDS))["parent_header"].get("msg_id") != asked:
            pass
        status: str = message["content"]["status"]
        return status

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    shutil.copy(NOTEBOOK, tmp_path)
    started = Kernel(tmp_path)
    yield started
    started.end()


def cells() -> list[str]:
    every = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert not [cell for cell in every if cell.get("outputs")], "it is given away without output"
    return ["".join(cell["source"]) for cell in every if cell["cell_type"] == "code"]


def years(printed: str) -> list[str]:
    return re.findall(r"mean of (\d+)", printed)


def test_what_was_finished_before_an_interrupt_and_a_restart_is_not_done_again(kernel: Kernel) -> None:
    load, build, execute, final, history = cells()
    assert kernel.run(load)[2] == "ok"
    _, shown, ended = kernel.run(build)
    assert ended == "ok"
    assert "<svg" in shown[0]["text/html"]
    before, _, ended = kernel.run(execute, interrupt_at="mean of 1993")
    assert ended == "error"
    kernel.restart()
    for cell in (load, build):
        assert kernel.run(cell)[2] == "ok"
    after, _, ended = kernel.run(execute)
    assert ended == "ok"
    done, again = years(before), years(after)
    assert done[:3] == ["1991", "1992", "1993"]
    assert len(done) < 12
    assert not set(done[:-1]) & set(again), "at most the step in flight is repeated"
    assert sorted({*done, *again}) == [str(year) for year in range(1991, 2003)]
    assert kernel.run(final)[0] == "0.20 K from 1991 to 2002\n"
    assert "analyze" in kernel.run(history)[1][0]["text/html"]
    printed, _, ended = kernel.run(execute)
    assert (years(printed), ended) == ([], "ok")
