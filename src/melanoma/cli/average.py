"""`melanoma average`: one network of several runs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import train as training
from melanoma.errors import ConfigError


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
    from melanoma.training.weights import is_whole

    if len(members) < 2:
        raise ConfigError("give at least two runs to average")
    for member in members:
        if not (member / "model.keras").is_file() or not (member / "recipe.yaml").is_file():
            raise RunError(f"{member} is no finished run; finish it with: melanoma train --resume {member}")
    recipes = [load_recipe(str(member / "recipe.yaml")) for member in members]
    for member, recipe in zip(members, recipes, strict=True):
        if (recipe.model, recipe.input) != (recipes[0].model, recipes[0].input):
            raise ConfigError(
                f"{member} has another model or input than {members[0]}, or began with other weights"
            )
        if (member / "splits.csv").read_bytes() != (members[0] / "splits.csv").read_bytes():
            raise ConfigError(
                f"{member} has other splits than {members[0]}, so nobody knows what both never saw"
            )
    if not is_whole(recipes[0].model.weights):
        raise ConfigError(
            "these runs began with separate weights, and the mean of such is worth nothing; "
            "train each on from one run, with --set model.weights=RUN"
        )
    return members[0].absolute()
