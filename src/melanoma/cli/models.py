"""`melanoma models`: what there is, and what it is made of."""

import json
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options
from melanoma.cli.streams import import_tensorflow

app = typer.Typer(help="Networks and bundles.", no_args_is_help=True)


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
def card(bundle: options.BundleOption = None) -> None:
    """What a bundle says of itself, as JSON."""
    predictor = options.open_predictor(bundle)
    text = Path(predictor.bundle.folder, "bundle.json").read_text(encoding="utf-8")
    typer.echo(json.dumps({"digest": predictor.digest, **json.loads(text)}, indent=2))
