"""Stands in for ``sbatch``, ``srun`` and ``scontrol``: one machine, and a time limit counted in lines of output.

``sbatch SCRIPT`` returns when all tasks of the job have ended for good. The script runs from a copy, as Slurm does it.
When a task has printed LINES lines that name a finished visit, its time is nearly up: SIGUSR1 goes to the shell alone,
for ``--signal=B:USR1@...``, and to nobody without that. In the first life of a task of which ``FAILS`` is set, its node
breaks down instead: everything is killed, and ``--requeue`` puts it back into the queue. What happened is in
``history.json`` of the working directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FIRST = 4711
LIVES = 20
KNOWN = {"job-name", "output", "open-mode", "time", "signal", "requeue", "array", "export"}


def options_of(words: list[str]) -> dict[str, str]:
    found = dict(re.fullmatch(r"--([a-z-]+)(?:=(.*))?", word).groups(default="") for word in words)  # type: ignore[union-attr]
    assert found.keys() <= KNOWN, f"unknown to the stand-in: {found.keys() - KNOWN}"
    return found


def sbatch(words: list[str]) -> int:
    script = Path(words[-1])
    inside = re.findall(r"^#SBATCH (\S+)$", script.read_text(), re.MULTILINE)
    options = {**options_of(inside), **options_of(words[:-1])}
    spool = Path("spool.sh").absolute()
    shutil.copy(script, spool)
    low, _, high = options.get("array", "").partition("-")
    tasks = range(int(low), int(high) + 1) if low else [None]
    history = Path("history.json")
    job = FIRST + 10 * len(json.loads(history.read_text()) if history.exists() else [])
    given = dict(pair.split("=", 1) for pair in options.get("export", "ALL").split(",")[1:])
    print(f"Submitted batch job {job}")

    def run_task(task: int | None) -> list[str]:
        """How each life of a task ended: ``requeue``, ``node_fail`` or its exit code."""
        ends: list[str] = []
        while len(ends) < LIVES and (not ends or ends[-1] in ("requeue", "node_fail")):
            ends.append(run_once(spool, options, variables(job, task, len(ends)) | given))
            if ends[-1] == "node_fail" and "requeue" not in options:
                break
        return ends

    with ThreadPoolExecutor(len(tasks)) as pool:
        ends = list(pool.map(run_task, tasks))
    before = json.loads(history.read_text()) if history.exists() else []
    history.write_text(json.dumps([*before, ends]))
    return 0


def variables(job: int, task: int | None, restart: int) -> dict[str, str]:
    """What Slurm tells a job about itself."""
    own = {"SLURM_JOB_ID": str(job + (task or 0)), "SLURM_SUBMIT_DIR": os.getcwd()}
    array = {} if task is None else {"SLURM_ARRAY_JOB_ID": str(job), "SLURM_ARRAY_TASK_ID": str(task)}
    return own | array | ({"SLURM_RESTART_COUNT": str(restart)} if restart else {})


def run_once(spool: Path, options: dict[str, str], told: dict[str, str]) -> str:
    job = told["SLURM_JOB_ID"]
    name = options["output"].replace("%x", options["job-name"]).replace("%j", job)
    mode = "a" if options.get("open-mode") == "append" else "w"
    left = int(os.environ.get("LINES", "-1"))
    process: subprocess.Popen[str]
    with (
        open(name, mode) as output,
        subprocess.Popen(
            ["bash", str(spool)], env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            left -= line.startswith("\N{CHECK MARK} simulate ")
            if left == 0:
                left = -1
                if os.environ.get("FAILS") and "SLURM_RESTART_COUNT" not in told:
                    os.killpg(process.pid, signal.SIGKILL)
                    return "node_fail"
                if options.get("signal", "").startswith("B:USR1@"):
                    process.send_signal(signal.SIGUSR1)
    requeued = Path(f"requeue-{job}")
    if requeued.exists():
        requeued.unlink()
        return "requeue"
    return str(process.returncode)


def srun(words: list[str]) -> int:
    """Signals go on to the program, its exit code comes back."""
    command = [word for word in words if not word.startswith("--ntasks")]
    process = subprocess.Popen(command)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    code = process.wait()
    return code if code >= 0 else 128 - code


def scontrol(words: list[str]) -> int:
    """Requeueing ends the job at once, this program included."""
    verb, job = words
    assert (verb, job) == ("requeue", os.environ["SLURM_JOB_ID"])
    Path(f"requeue-{job}").touch()
    os.killpg(os.getpgid(0), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    programs: dict[str, Any] = {"sbatch": sbatch, "srun": srun, "scontrol": scontrol, "squeue": lambda _: 0}
    sys.exit(programs[sys.argv[1]](sys.argv[2:]))
