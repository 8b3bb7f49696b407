"""Write docs/reference/commands.md and recipes.md anew, from the command line and the recipe model themselves."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from melanoma.cli import predict
from melanoma.cli.app import app
from melanoma.config import Recipe

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
WRITTEN_BY = "Written by `scripts/write_command_reference.py`; a test fails when it is stale."
EXIT_CODES = """\
Results go to standard output, progress and messages to standard error.

| exit code | meaning |
|---|---|
| 0 | done; result rows with an error included, unless `--strict` was given |
| 1 | our own failure, or MLflow could not be reached by `melanoma track` or `--bundle models:/...` |
| 2 | something the user can mend, said in one line: a wrong option, data, recipe, bundle or run folder; \
`--strict` with a bad image; not one image could be judged |
| 130 | stopped with Ctrl-C |
"""
RULES = """\
A recipe is a YAML file. `--recipe` takes the name of a shipped one or a path; `--set key=value` changes one
value, such as `--set training.epochs=3`. A key that is not listed here is refused. Only `name` must be given.
The run folder keeps the recipe with every default filled in, as `recipe.yaml`.
"""
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def main() -> None:
    """Write both files."""
    for path, text in render().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        print(path)


def render() -> dict[Path, str]:
    """The text of every generated file."""
    return {FOLDER / "commands.md": render_commands(), FOLDER / "recipes.md": render_recipes()}


def render_commands() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    sections = [f"# Commands\n\n{WRITTEN_BY}\n", EXIT_CODES]
    sections += [
        _render_command(name, command, context) for name, command, context in _walk("melanoma", root)
    ]
    return "\n".join(sections)


def render_recipes() -> str:
    """Every key of a recipe with its default."""
    sections = [f"# Recipe keys\n\n{WRITTEN_BY}\n", RULES]
    for name, field in Recipe.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            sections.append(_render_section(name, model))
    return "\n".join(sections)


def _walk(name: str, command: Any, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Each command after its group, with the context that its help is written in."""
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=100, **command.context_settings
    )
    yield context.command_path, command, context
    for child, subcommand in getattr(command, "commands", {}).items():
        yield from _walk(child, subcommand, context)


def _render_command(path: str, command: Any, context: Any) -> str:
    if path == "melanoma predict":
        return _render_parser(predict.create_parser())
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"## {path}", "", command.help, "", f"`{usage}`", ""]
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [record for record in records if record]
    if rows:
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in rows]
        lines.append("")
    return "\n".join(lines)


def _render_parser(parser: argparse.ArgumentParser) -> str:
    """The same of the one command that argparse parses."""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    lines = [f"## {parser.prog}", "", str(parser.description), "", f"`{usage}`", ""]
    lines += ["| argument or option | meaning |", "|---|---|"]
    for action in parser._actions[1:]:
        kind = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
        takes = f" <{kind}>" if action.nargs != 0 else ""
        name = ", ".join(action.option_strings) + takes if action.option_strings else f"{kind}..."
        lines.append(f"| `{_cell(name)}` | {_cell(str(action.help))} |")
    return "\n".join([*lines, ""])


def _render_section(name: str, model: type[BaseModel]) -> str:
    lines = [
        f"## {name}",
        "",
        model.__doc__ or "",
        "",
        "| key | values | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, field in model.model_fields.items():
        values, meaning = _describe_values(field), field.description or ""
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        lines.append(f"| `{name}.{key}` | {values} | `{default}` | {meaning} |")
    return "\n".join([*lines, ""])


def _describe_values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    names: dict[Any, str] = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    kind = names.get(field.annotation, f"`{field.annotation}`")
    found = [
        f"{words} {getattr(rule, bound):g}"
        for rule in field.metadata
        for bound, words in BOUNDS.items()
        if getattr(rule, bound, None) is not None
    ]
    return f"{kind}{', ' * bool(found)}{', '.join(found)}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
