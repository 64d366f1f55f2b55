"""What is released is what is tested: the wheel and the source distribution, installed where the checkout is not."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from house_source import PACKAGE, ROOT
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, which is built from the source distribution, and that."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (source,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return wheel, source


def needed(name: str, found: dict[str, Path]) -> dict[str, Path]:
    """The files and directories of a distribution and of those that it requires, by their name in site-packages."""
    of = distribution(name)
    wanted = [Requirement(text) for text in of.requires or ()]
    for one in wanted:
        if (one.marker is None or one.marker.evaluate({"extra": ""})) and one.name not in found:
            inner = distribution(one.name)
            assert inner.version in one.specifier, f"{one} is declared, {inner.version} is installed"
            found[one.name] = Path(str(inner.locate_file("")))
            needed(one.name, found)
    return found


def install(wheel: Path, place: Path) -> Path:
    """The Python of a new environment with the wheel and what it declares, and nothing else."""
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as inside:
        inside.extractall(packages)
    for name in needed("tau-orchestrate", {}):
        of = distribution(name)
        for top in {file.parts[0] for file in of.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(of.locate_file(top))))
    return place / "bin" / "python"


def test_the_package_index_would_take_both(built: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_says_what_it_is(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(wheel.read(about))
    inside = {
        str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*") if path.suffix in (".py", ".sql", ".typed")
    }
    assert inside <= names
    assert not [name for name in names if name.startswith("tests") or name.endswith(".pyc")]
    assert said["Name"] == "tau-orchestrate"
    assert said["Requires-Python"] == ">=3.11"
    assert said.get_all("Classifier")


def test_the_source_has_what_a_release_is_tested_with(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "mkdocs.yml",
        "scripts/test",
        "tests/conftest.py",
        "docs/format.md",
    } <= names


def test_the_wheel_works_where_only_what_it_declares_is_installed(built: tuple[Path, Path], tmp_path: Path) -> None:
    python = install(built[0], tmp_path / "venv")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"NO_COLOR": "1"}

    def shows(*words: str) -> str:
        done = subprocess.run([str(python), *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert shows("-c", "import tau; print(tau.__file__)").startswith(str(tmp_path / "venv"))
    assert shows("-m", "tau", "--version").strip()
    assert shows("-m", "tau", "demo")


def test_the_environment_for_conda_has_the_dependencies_of_the_package() -> None:
    given = [
        one for one in yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"] if one != "pip"
    ]
    names = {one for one in given if isinstance(one, str)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = {one.partition(";")[0] for one in project["project"]["dependencies"]}
    assert declared | set(project["dependency-groups"]["example"]) == names - {"python=3.12"}
    assert {"pip": ["."]} in given
