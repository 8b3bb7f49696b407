"""The documents agree with the code: generated pages, links, command lines, file names, placeholders."""

import importlib.util
import json
import re
import shlex
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import typer

from conftest import require_extra

require_extra("pydantic", "bench")

from melanoma.cli import predict
from melanoma.cli.app import app
from melanoma.errors import ConfigError

ALLOW_PLACEHOLDERS = False  # False once every measured figure is filled in

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "melanoma"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL_END = {"|", ">", ">>", "&&", "||", ";", "&", "2>"}


def each_document(function):
    return pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))(function)


def load_writer():
    spec = importlib.util.spec_from_file_location(
        "write_command_reference", ROOT / "scripts" / "write_command_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_references_are_current():
    for path, text in load_writer().render().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is stale: run scripts/write_command_reference.py"
        )


@each_document
def test_links_lead_somewhere(path):
    dead = [link for link in LINK.findall(outside_blocks(path)) if not leads_somewhere(path, link)]
    assert dead == []


@each_document
def test_command_lines_parse(path):
    wrong = [f"{line}: {why}" for line in shell_lines(path) if (why := explain_wrong(line))]
    assert wrong == []


def test_wrong_command_lines_are_found():
    """The check itself: without this, a checker that accepts everything would pass."""
    for line in (
        "melanoma predikt a.jpg",
        "melanoma predict a.jpg --formt json",
        "melanoma export --run runs/RUN",
        "melanoma track promote",
        "make nothing",
    ):
        assert explain_wrong(line), line
    assert not explain_wrong("melanoma predict a.jpg --format json | head")


def test_architecture_names_every_source_file():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    files = {"__init__.py" if name.endswith("__init__.py") else name for name in files}
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert sorted(files - named) == []


def test_architecture_names_no_file_that_is_gone():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## Where this differs")[0]
    named = {name for name in re.findall(r"`([\w/]+\.py)`", text) if not name.startswith("tests/")}
    assert sorted(name for name in named if not (PACKAGE / name).is_file()) == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in wanted} - {"melanoma"}
    text = (ROOT / "docs" / "decisions" / "0007-dependencies.md").read_text(encoding="utf-8")
    assert sorted(name for name in names if f"`{name}`" not in text) == []


@pytest.mark.skipif(ALLOW_PLACEHOLDERS, reason="figures are still being measured")
def test_no_placeholder_is_left():
    assert [(path.name, name) for path in DOCUMENTS for name in placeholders(path)] == []


def placeholders(path: Path) -> list[str]:
    return re.findall(r"\{\{\w*", path.read_text(encoding="utf-8"))


def outside_blocks(path: Path) -> str:
    return BLOCK.sub("", path.read_text(encoding="utf-8"))


def leads_somewhere(document: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True  # the network is not asked
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(document: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", outside_blocks(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(path: Path) -> list[str]:
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    text = "\n".join(body for language, body in blocks if language in {"sh", "bash", "console"})
    lines = [line.removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(("melanoma", "make"))]


def explain_wrong(line: str) -> str:
    """Why a shell line is no command of this project, '' when it is one."""
    words = shlex.split(line, comments=True)
    end = next((number for number, word in enumerate(words) if word in SHELL_END), len(words))
    program, *arguments = words[:end]
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        unknown = [word for word in arguments if "=" not in word and word not in targets]
        return f"make has no {unknown}" if unknown else ""
    if arguments[:1] == ["predict"]:
        return explain_wrong_predict(arguments[1:])
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments or [""]
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    try:
        command.make_context(name, arguments)
    except Exception as error:
        return f"{error} ({type(error).__name__})"
    return ""


def explain_wrong_predict(arguments: list[str]) -> str:
    try:
        predict.create_parser().parse_args(arguments)
    except ConfigError as error:
        return str(error)
    return ""


def test_the_model_card_is_of_the_bundle_that_ships():
    description = json.loads((ROOT / "src/melanoma/bundles/default/bundle.json").read_text(encoding="utf-8"))
    assert description["digest"] in (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
