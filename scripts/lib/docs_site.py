"""Build the documentation: ``docs_site.py [FOLDER]``; the site is then in FOLDER/site.

The pages are the Markdown files of the repository, which link to each other as files do. They are laid out in
FOLDER/docs, their links follow, the reference is written from the docstrings, and zensical makes the site of it. The
order of the pages is the ``nav`` of mkdocs.yml. Beside each page lies its Markdown; llms.txt names them all,
llms-full.txt holds them all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import reference
import yaml

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]+)?\)")
SHIM = re.compile(r"\bhttps:/{2}unpkg\.com/iframe-worker/shim\b")  # what pages that work offline would load
LANGUAGES = {".py": "python", ".sh": "sh", ".toml": "toml", ".yml": "yaml"}


class Failure(Exception):
    """A page that cannot be part of the site; the text says which, and why."""


def sources() -> dict[str, Path]:
    """The Markdown files that become pages, by the name of the page in the site."""
    found = {path.name: path for path in sorted((ROOT / "docs").glob("*.md"))}
    found["index.md"] = ROOT / "README.md"
    for path in sorted((ROOT / "examples").rglob("README.md")):
        found[f"examples/{path.parent.relative_to(ROOT / 'examples')}.md"] = path
    for name, page in (("CHANGELOG", "changelog"), ("CONTRIBUTING", "contributing"), ("SECURITY", "security-policy")):
        found[f"{page}.md"] = ROOT / f"{name}.md"
    return found


def listings() -> dict[str, Path]:
    """The examples without a page of their own: they are shown as they are."""
    folder = ROOT / "examples"
    places = [place for place in sorted(folder.iterdir()) if place.is_dir() and not (place / "README.md").exists()]
    return {f"examples/{place.stem}.md": place for place in [*places, *sorted(folder.glob("*.py"))]}


def lay_out(folder: Path) -> dict[str, str]:
    """The text of every page, by its name; their links lead from page to page."""
    found, shown = sources(), listings()
    places = {path.resolve(): name for name, path in found.items()}
    places |= {path.parent.resolve(): name for name, path in found.items() if path.name == "README.md" and "/" in name}
    for name, path in shown.items():
        places |= {path.resolve(): name} | {one.resolve(): name for one in path.glob("*")}
    pages = {name: linked(name, path, places, folder) for name, path in found.items()}
    pages |= {name: listing(name, path) for name, path in shown.items()}
    pages |= {f"reference/{name}": text for name, text in reference.pages().items()}
    for name, text in pages.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    shutil.copyfile(ROOT / "docs" / "site.css", folder / "site.css")
    return pages


def linked(name: str, path: Path, places: dict[Path, str], folder: Path) -> str:
    """The text of a page with links to the other pages; files that it links to are copied to ``folder``, too. Raises
    `Failure` for a link that leads nowhere."""

    def follow(link: re.Match[str]) -> str:
        place = (path.parent / link[1]).resolve()
        if place not in places:
            if not place.is_file() or not place.is_relative_to(ROOT):
                raise Failure(f"{path.relative_to(ROOT)} links to {link[1]}, which is not there")
            places[place] = copied(place, folder)
        return f"]({os.path.relpath(places[place], os.path.dirname(name) or '.')}{link[2] or ''})"

    return "".join(LINK.sub(follow, part) if is_prose else part for part, is_prose in parts(path.read_text("utf-8")))


def copied(place: Path, folder: Path) -> str:
    """Where in the site a picture or another file is; one without an extension would be downloaded, not shown."""
    name = str(place.relative_to(ROOT)) + ("" if place.suffix else ".txt")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place, folder / name)
    return name


def parts(text: str) -> Iterator[tuple[str, bool]]:
    """A page in pieces: prose, which has links, and fenced blocks, which have none."""
    end = 0
    for block in FENCE.finditer(text):
        yield text[end : block.start()], True
        yield block[0], False
        end = block.end()
    yield text[end:], True


def listing(name: str, path: Path) -> str:
    """A page that shows the files of an example."""
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.suffix in LANGUAGES)
    title = f"# Example: {Path(name).stem.replace('_', ' ')}\n"
    texts = [
        f"\n## {one.relative_to(ROOT)}\n\n```{LANGUAGES[one.suffix]}\n{one.read_text('utf-8').rstrip()}\n```\n"
        for one in files
    ]
    return title + "".join(texts)


def configuration() -> dict[str, Any]:
    """mkdocs.yml, with the pages of the reference, which are generated, at the end of the section of that name."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    for section in read["nav"]:
        if "Reference" in section:
            section["Reference"] += [f"reference/{name}" for name in reference.pages()]
    return read


def in_order(nav: Any) -> Iterator[tuple[str, list[str]]]:
    """The sections of the nav with the names of their pages."""
    for entry in nav:
        ((title, inside),) = entry.items()
        yield title, list(names(inside))


def names(inside: Any) -> Iterator[str]:
    if isinstance(inside, str):
        yield inside
    elif isinstance(inside, dict):
        for one in inside.values():
            yield from names(one)
    else:
        for one in inside:
            yield from names(one)


def title_and_begin(text: str) -> tuple[str, str]:
    """The heading of a page and the first sentence of it."""
    prose = "".join(part for part, is_prose in parts(text) if is_prose)
    title = re.search(r"^# (.+)$", prose, re.MULTILINE)
    paragraph = re.search(r"^(?![#|\s-])(.+?)(?:\n\n|\Z)", prose, re.MULTILINE | re.DOTALL)
    begin = " ".join(paragraph[1].split()) if paragraph else ""
    begin = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", begin)
    return (title[1] if title else ""), re.split(r"(?<=[.:?])\s", begin)[0].rstrip(":")


def for_machines(site: Path, pages: dict[str, str], config: dict[str, Any]) -> None:
    """llms.txt, llms-full.txt, and each page as Markdown beside itself."""
    index = [f"# {config['site_name']}\n\n> {config['site_description']}\n"]
    whole = []
    for section, inside in in_order(config["nav"]):
        index.append(f"\n## {section}\n\n")
        for name in inside:
            title, begin = title_and_begin(pages[name])
            index.append(f"- [{title}]({name}): {begin}\n")
            whole.append(f"<!-- {name} -->\n\n{pages[name].strip()}\n")
            (site / name).write_text(pages[name], "utf-8")
    (site / "llms.txt").write_text("".join(index), "utf-8")
    (site / "llms-full.txt").write_text("\n".join(whole), "utf-8")


def build(folder: Path) -> Path:
    """Make the site of all pages in ``folder``/site, anew. Raises `Failure` with what zensical says of the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    pages, config = lay_out(folder / "docs"), configuration()
    left = sorted(pages.keys() - {name for _, inside in in_order(config["nav"]) for name in inside})
    if left:
        raise Failure(f"not in the nav of mkdocs.yml: {', '.join(left)}; give each a line there, where readers need it")
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    make(folder)
    site = folder / "site"
    bring_worker(site)
    for_machines(site, pages, config)
    return site


def make(folder: Path) -> None:
    """What zensical makes of a folder with pages and a mkdocs.yml; a warning is a `Failure`."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    env = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"zensical refuses the pages:\n{done.stdout}{done.stderr}")


def bring_worker(site: Path) -> None:
    """A script of our own stands for the one that would come from another host."""
    ours = site / "assets" / "javascripts" / "file_worker.js"
    shutil.copyfile(Path(__file__).with_name(ours.name), ours)
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        page.write_text(SHIM.sub(os.path.relpath(ours, page.parent), text), "utf-8")


def main() -> int:
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "docs"
    try:
        site = build(folder)
    except Failure as failure:
        print(f"docs: {failure}", file=sys.stderr)
        return 1
    print(site / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
