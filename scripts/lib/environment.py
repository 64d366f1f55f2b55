"""Make the environment that the scripts run in: ``environment.py [--ready] GROUP``.

The environment is made from the Python that runs this file, at ``$TAU_VENV`` (default: ``build/venv`` in the checkout),
with uv where it is present, else with venv and pip. GROUP is a dependency group of pyproject.toml. With ``--ready``
nothing is made; the exit code says whether everything is there already.

An installation that was cut short is made again from nothing: a mark is written before it and taken away after it.
Two at once take turns, by a lock that the kernel drops with its last holder. Standard library only, Python 3.11+.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(os.environ.get("TAU_VENV") or ROOT / "build" / "venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "tau-stamp.json"
UNFINISHED = VENV / "tau-unfinished"
LOCK = VENV.with_name(VENV.name + ".lock")
LOG = VENV.with_name(VENV.name + ".log")
LOCK_SECONDS = 1800.0
TELL_SECONDS = 15.0
ALONE = " --no-deps"  # ends what is installed without its dependencies


class Failure(Exception):
    """Something that the user has to know or to do; the text says what."""


def requirements(groups: dict[str, list[Any]], name: str) -> list[str]:
    """The requirements of one dependency group, included groups too. Read here since pip before 25.1 cannot."""
    if name not in groups:
        raise Failure(f"pyproject.toml has no dependency group {name!r}; it has {', '.join(sorted(groups))}")
    found: list[str] = []
    for entry in groups[name]:
        found += requirements(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return sorted(set(found))


def without_dependencies(project: dict[str, Any], name: str) -> list[str]:
    """What the group needs of which only the package itself is installed, included groups too."""
    alone: dict[str, list[str]] = project.get("tool", {}).get("environment", {}).get("without-dependencies", {})
    found = [f"{one}{ALONE}" for one in alone.get(name, ())]
    for entry in project["dependency-groups"][name]:
        if isinstance(entry, dict):
            found += without_dependencies(project, entry["include-group"])
    return sorted(set(found))


def split(needed: list[str]) -> tuple[list[str], list[str]]:
    """What is installed with its dependencies, and what without."""
    alone = [one.removesuffix(ALONE) for one in needed if one.endswith(ALONE)]
    return [one for one in needed if not one.endswith(ALONE)], alone


def identity(pyproject: bytes) -> str:
    """Changes whenever the environment has to be looked at again: other project data, Python or place."""
    python = [sys.implementation.cache_tag, sys.abiflags, sys.base_prefix]
    return hashlib.sha256(b"\0".join([pyproject, *(os.fsencode(x) for x in (*python, ROOT, VENV))])).hexdigest()


def read_stamp() -> dict[str, Any]:
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def ready(key: str, needed: list[str]) -> bool:
    stamp = read_stamp()
    return stamp.get("key") == key and not UNFINISHED.exists() and set(needed) <= set(stamp.get("installed", ()))


def take_turn() -> int:
    """Wait for whoever installs at this moment. The children of an installer inherit the lock, so that it is held
    until the last of them is gone, also when the installer itself was killed."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    deadline = time.monotonic() + LOCK_SECONDS
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Failure(f"another installation has held {LOCK} for half an hour; end it and try again") from None
            if not told:
                say("waiting for another installation to finish")
                told = True
            time.sleep(0.2)
        except OSError:  # a file system without locks: two at once are then the user's to avoid
            return handle


def subprocess_environment() -> dict[str, str]:
    """The user's own settings, with caches in the checkout where there is no home to keep them in."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    env["PIP_USER"] = "0"
    if not os.access(os.path.expanduser("~"), os.W_OK):
        env.setdefault("PIP_CACHE_DIR", str(ROOT / "build" / "cache" / "pip"))
        env.setdefault("UV_CACHE_DIR", str(ROOT / "build" / "cache" / "uv"))
    return env


def run(lock: int, *command: str | Path) -> bool:
    """Run one command with its output in the log; whether it succeeded."""
    with open(LOG, "ab") as log:
        log.write(f"$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=subprocess_environment(),
            pass_fds=(lock,),
        )
        try:
            return wait_for(process) == 0
        except BaseException:
            process.kill()
            process.wait()
            raise


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Who waits is told every now and then that it is alive: on a terminal by one line."""
    terminal, began = sys.stderr.isatty(), time.monotonic()
    while True:
        try:
            code = process.wait(1.0 if terminal else TELL_SECONDS)
        except subprocess.TimeoutExpired:
            words = f"tau: still at it, {time.monotonic() - began:.0f} s"
            print(f"\r\x1b[2K{words}" if terminal else words, end="" if terminal else "\n", file=sys.stderr, flush=True)
        else:
            print("\r\x1b[2K" if terminal else "", end="", file=sys.stderr, flush=True)
            return code


def failed(what: str) -> Failure:
    tail = LOG.read_text("utf-8", "replace").splitlines()[-15:]
    return Failure(f"{what} failed; the whole output is in {LOG}, its end:\n  " + "\n  ".join(tail))


def clean_place() -> None:
    """Take away an environment of ours that is unfinished or made otherwise; never one that somebody else made."""
    ours = UNFINISHED.exists() or read_stamp().get("made_here", False)
    old = VENV.with_name(
        VENV.name + ".old"
    )  # renamed first: a removal that is cut short must not look like a stranger's
    if old.exists():
        shutil.rmtree(old)
    if VENV.exists() and ours:
        VENV.rename(old)
        shutil.rmtree(old)
    if VENV.exists() and any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
        raise Failure(f"{VENV} is there and is no virtual environment; set TAU_VENV to a directory of its own")


def has(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # an empty directory of that name is no module


def install_with_uv(lock: int, needed: list[str]) -> bool:
    uv = shutil.which("uv")
    if uv is None:
        return False
    made = PYTHON.exists() or run(lock, uv, "venv", "--allow-existing", "--python", sys.executable, VENV)
    install = (uv, "pip", "install", "--python", PYTHON)
    whole, alone = split(needed)
    if made and run(lock, *install, "--editable", ROOT, *whole):
        return not alone or run(lock, *install, "--no-deps", *alone)
    say("uv did not succeed; trying venv and pip")
    return False


def install_with_pip(lock: int, needed: list[str]) -> None:
    install = ("install", "--no-input", "--disable-pip-version-check")
    whole, alone = split(needed)
    if has("ensurepip"):
        if not run(lock, sys.executable, "-m", "venv", VENV):
            raise failed(f"{sys.executable} -m venv")
        pip: tuple[str | Path, ...] = (PYTHON, "-m", "pip")
    elif has("venv") and has("pip"):
        if not run(lock, sys.executable, "-m", "venv", "--without-pip", VENV):
            raise failed(f"{sys.executable} -m venv")
        pip = (sys.executable, "-m", "pip", "--python", PYTHON)
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Failure(
            f"{sys.executable} cannot make an environment: it has neither ensurepip nor pip. Install one of: "
            f"the package python{version}-venv (Debian, Ubuntu: apt install python{version}-venv), pip, or uv"
        )
    if not run(lock, *pip, *install, "--editable", ROOT, *whole):
        raise failed("installing")
    if alone and not run(lock, *pip, *install, "--no-deps", *alone):
        raise failed(f"installing {' '.join(alone)}")


def make(lock: int, key: str, needed: list[str]) -> None:
    stamp = read_stamp()
    if stamp.get("key") == key and not UNFINISHED.exists():
        needed = sorted({*needed, *stamp["installed"]})
    else:
        clean_place()
    made_here = stamp.get("made_here", False) if STAMP.exists() else not (VENV / "pyvenv.cfg").exists()
    say(f"installing what is needed into {os.path.relpath(VENV, ROOT)} (once; a minute or two)")
    began = time.monotonic()
    LOG.unlink(missing_ok=True)
    VENV.mkdir(parents=True, exist_ok=True)
    if made_here:
        UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    if not install_with_uv(lock, needed):
        install_with_pip(lock, needed)
    text = json.dumps({"key": key, "installed": needed, "made_here": made_here})
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(text, "utf-8")
    temporary.replace(STAMP)
    UNFINISHED.unlink(missing_ok=True)
    say(f"installed in {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    print(f"tau: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    pyproject = (ROOT / "pyproject.toml").read_bytes()
    project = tomllib.loads(pyproject.decode("utf-8"))
    needed = requirements(project["dependency-groups"], arguments[-1]) + without_dependencies(project, arguments[-1])
    key = identity(pyproject)
    if ready(key, needed):
        return 0
    if "--ready" in arguments:
        return 1
    lock = take_turn()
    if not ready(key, needed):
        make(lock, key, needed)
    os.close(lock)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted; the next start installs from the beginning")
        sys.exit(130)
    except Failure as failure:
        say(str(failure))
    except PermissionError as error:
        say(f"cannot write {error.filename}; set TAU_VENV to a directory of your own, or make the checkout writable")
    except OSError as error:
        say(f"the environment could not be made: {error}")
    sys.exit(1)
