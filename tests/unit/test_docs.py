"""The documents name what exists: links, modules, `make` targets; the drawing is readable."""

import re
import xml.etree.ElementTree as ET
from importlib import import_module
from pathlib import Path
from typing import Final

from support.rows import each_row
from typer.testing import CliRunner

from pcapdj.cli import MODULES

ROOT: Final = Path(__file__).resolve().parent.parent.parent
DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "monitoring").glob("*.md")]
)


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_row("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """A link into the repository names a file that is there, and a heading in it."""
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8"))
    inside = [link.partition("#") for link in links if "://" not in link]

    for name, _, anchor in inside:
        target = document.parent / name if name else document
        assert target.is_file(), f"{document.name}: no file {name}"
        assert not anchor or anchor in anchors(target), f"{document.name}: no heading {anchor} in {name}"


@each_row("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_that_a_document_names_is_there(document: Path) -> None:
    """A module that was renamed or merged leaves no old name in the documents."""
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|lua))`", document.read_text("utf-8")))
    there = [path for part in ("pcapdj", "tests", "bench") for path in (ROOT / part).rglob("*.*")]
    paths = {f"/{path.relative_to(ROOT)}" for path in there}

    assert {name for name in named if not any(path.endswith(f"/{name}") for path in paths)} == set()


@each_row("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_a_document_names_is_there(document: Path) -> None:
    """`make X` in a document works."""
    named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", document.read_text("utf-8"), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert named - targets == set()


@each_row("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_shows_exists(document: Path) -> None:
    """`pcapdj X --option` in a document is a subcommand with that option."""
    shown = re.findall(r"(?:`|^ {4}|/)pcapdj ([a-z]+)\b([^`#\n]*)", document.read_text("utf-8"), re.MULTILINE)
    unknown = [
        f"pcapdj {command} {option}".rstrip()
        for command, words in shown
        for option in ["", *re.findall(r"(?<!\S)\[?(--[a-z-]+)", words.partition(" -- ")[0])]
        if command != "help" and (command not in MODULES or (option and option not in options_of(command)))
    ]

    assert unknown == []


def options_of(command: str) -> set[str]:
    """Return the long options of a subcommand, as its help shows them."""
    module = import_module(MODULES[command])
    if not hasattr(module, "app"):
        return set(re.findall(r"--[a-z-]+", Path(str(module.__file__)).read_text("utf-8")))
    return set(re.findall(r"--[a-z-]+", CliRunner().invoke(module.app, ["--help"]).output))


def test_the_drawing_shows_the_four_roles_as_text() -> None:
    """People can search it, and screen readers read it; it has colours for a dark page, too."""
    text = (ROOT / "docs" / "data-flow.svg").read_text("utf-8")
    shown = " ".join(ET.fromstring(text).itertext())  # noqa: S314 - our own file

    for role in ("IMPORTER", "DISPATCHER", "CONTROLLER", "LAUNCHER", "ANALYZER", "Redis"):
        assert role in shown
    assert "prefers-color-scheme: dark" in text
