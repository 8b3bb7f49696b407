"""`melanoma models`: what there is, and what it is made of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options, predictors
from melanoma.cli.progress import say
from melanoma.cli.streams import import_tensorflow
from melanoma.errors import ConfigError
from melanoma.inference import results
from melanoma.inference.bundle import Bundle

app = typer.Typer(help="Networks and bundles.", no_args_is_help=True)

_Evaluations = Annotated[
    list[Path] | None, typer.Option("--evaluation", help="Folder that `melanoma evaluate` or a run wrote.")
]
_Stress = Annotated[list[Path] | None, typer.Option("--stress", help="Folder that `melanoma stress` wrote.")]
_Explanations = Annotated[
    list[Path] | None, typer.Option("--explanations", help="Folder of a check of the heat maps.")
]


@app.command("list")
def list_() -> None:
    """The recipes that ship with the package."""
    from melanoma.config import load_recipe, shipped_recipes

    for name, path in sorted(shipped_recipes().items()):
        recipe = load_recipe(str(path))
        typer.echo(f"{name}: {recipe.model.name}, {recipe.input.size} px, {recipe.training.epochs} epochs")


@app.command()
def summary(name: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a YAML file.")]) -> None:
    """Keras' table of a recipe's network."""
    from melanoma.config import load_recipe

    recipe = load_recipe(name)
    import_tensorflow()
    from melanoma.training.models import create_model

    create_model(recipe.model, recipe.input).summary(print_fn=typer.echo)


@app.command()
def card(
    bundle: options.BundleOption = None,
    evaluation: _Evaluations = None,
    stress: _Stress = None,
    explanations: _Explanations = None,
    statements: Annotated[
        Path | None, typer.Option(help="YAML file with what only the authors know, such as ethical approval.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File for the card: .md, .html, or .json with its figures; default: standard output.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Only what the bundle says of itself, as JSON.")
    ] = False,
) -> None:
    """A bundle's model card, from its facts and its results, with reporting checklists."""
    predictor = predictors.open_predictor(bundle)
    if as_json:
        _print_facts(predictor.bundle, [evaluation, stress, explanations, statements, output])
        return
    from melanoma.evaluation import card as cards
    from melanoma.evaluation import card_report

    if not evaluation and results.read(predictor.bundle):
        kept = predictor.bundle.folder / results.FILE
        say(f"no --evaluation, so the card has no figures; what the bundle was published with is in {kept}")
    made = cards.gather(predictor.bundle, evaluation or [], stress or [], explanations or [], statements)
    if output is None:
        typer.echo(card_report.render_markdown(made), nl=False)
    else:
        card_report.save(made, output)
        typer.echo(f"card: {output}")


def _print_facts(bundle: Bundle, others: Sequence[object]) -> None:
    """`bundle.json` with its digest first. Raises ConfigError when there is another option."""
    if any(others):
        raise ConfigError("--json prints the bundle alone; leave out the other options, or --json")
    text = Path(bundle.folder, "bundle.json").read_text(encoding="utf-8")
    typer.echo(json.dumps({"digest": bundle.digest, **json.loads(text)}, indent=2))
