"""`melanoma average`: one network of several runs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import train as training
from melanoma.errors import ConfigError

NEEDED = ("run.json", "recipe.yaml", "splits.csv", "model.keras", "bundle/bundle.json")


def average(
    members: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Finished runs that began with the same weights, on the same splits."
        ),
    ],
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder for the new run; default: a new one in runs/.")
    ] = None,
    register: Annotated[bool, typer.Option(help="Register the model with MLflow.")] = True,
) -> None:
    """Average the weights of runs: one network, calibrated, evaluated and tracked like a run of its own.

    It costs no more than one of them to judge with, and is often better than each on images from elsewhere.
    """
    from melanoma import run_images

    first = _check(members)
    request = replace(
        run_images.read_request(first),
        splits=str(first / "splits.csv"),
        groups=None,
        register=register,
        parent=None,
        workers=1,
        cluster=None,
        average=[str(member.absolute()) for member in members],
    )
    folder = run_dir or training.new_folder(f"{first.name}-average", request.seed)
    training.report_result(training.run(request, str(first / "recipe.yaml"), [], folder))


def _check(members: list[Path]) -> Path:
    """The first of them, as an absolute path. Raises RunError, and ConfigError when their mean is worth nothing."""
    from melanoma.config import load_recipe
    from melanoma.errors import RunError
    from melanoma.inference import bundle as bundles

    if len({member.resolve() for member in members}) < 2:
        raise ConfigError("give at least two runs to average")
    for member in members:
        if not all((member / name).is_file() for name in NEEDED):
            raise RunError(f"{member} is no finished run; finish it with: melanoma train --resume {member}")
    first = members[0]
    recipes = [load_recipe(str(member / "recipe.yaml")) for member in members]
    began_with = [bundles.load(member / "bundle").facts.get("began_with") for member in members]
    for member, recipe, beginning in zip(members, recipes, began_with, strict=True):
        if (recipe.model.name, recipe.input) != (recipes[0].model.name, recipes[0].input):
            raise ConfigError(f"{member} has another network or input than {first}")
        if beginning is None or beginning != began_with[0]:
            raise ConfigError(
                f"{member} and {first} did not begin with the weights of one run, and the mean of such is worth "
                "nothing; train each on from one run, with --set model.weights=RUN"
            )
        if (member / "splits.csv").read_bytes() != (first / "splits.csv").read_bytes():
            raise ConfigError(f"{member} has other splits than {first}, so nobody knows what both never saw")
    return first.absolute()
