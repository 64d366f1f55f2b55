"""The scripts that a stranger runs first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from house_source import ROOT

SCRIPTS = ["scripts/demo", "scripts/docs", "scripts/test", "scripts/check", ".ci/run"]


def environment_module() -> ModuleType:
    spec = spec_from_file_location("environment", ROOT / "scripts" / "lib" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bare_path(folder: Path, *programs: str) -> str:
    """A PATH with no more than these programs."""
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return str(folder)


def start(script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / script), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_posix_sh(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text("utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/docs", "scripts/test", "scripts/check"])
def test_without_python_a_script_says_what_to_install(script: str, tmp_path: Path) -> None:
    done = start(script, PATH=bare_path(tmp_path, "sh", "dirname", "mkdir"), TAU_VENV=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "no Python 3.11 or later found" in done.stderr


def test_a_python_that_was_asked_for_and_does_not_run_is_named(tmp_path: Path) -> None:
    done = start("scripts/test", PATH=os.environ["PATH"], TAU_PYTHON="/no/such/python", TAU_VENV=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "/no/such/python" in done.stderr


def test_a_directory_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    done = start("scripts/test", PATH=os.environ["PATH"], TAU_PYTHON=sys.executable, TAU_VENV=str(mine))
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert (mine / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("missing", ["cc", "strace"])
def test_deep_stops_with_the_name_of_the_missing_tool(missing: str, tmp_path: Path) -> None:
    path = bare_path(tmp_path, "sh", "dirname")
    for tool in {"cc", "strace"} - {missing}:
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    done = start("scripts/test", "--deep", PATH=path)
    assert done.returncode == 1
    assert f"--deep needs {missing}" in done.stderr


def test_included_groups_are_read_without_the_help_of_pip() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    requirements = environment_module().requirements
    example, test, dev = (set(requirements(groups, name)) for name in ("example", "test", "dev"))
    assert example < test < dev
    assert all(isinstance(name, str) for name in dev)


def test_an_unknown_group_is_refused_with_those_that_exist() -> None:
    module = environment_module()
    with pytest.raises(module.Failure, match=r"'no'.*it has a, b"):
        module.requirements({"a": [], "b": []}, "no")


def test_no_script_names_a_package_registry() -> None:
    for path in [*(ROOT / "scripts").rglob("*"), ROOT / ".ci" / "run", ROOT / "pyproject.toml"]:
        if path.is_file() and path.suffix != ".pyc":
            assert "://" not in path.read_text("utf-8"), path
