"""`melanoma track`: what MLflow has not got yet, and which version is in use."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli.progress import say

app = typer.Typer(help="MLflow: send what was not sent, move the alias.", no_args_is_help=True)


@app.command()
def sync(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Send what a run noted while MLflow was out of reach; each point arrives once."""
    from melanoma import tracking

    result = tracking.sync(run)
    for line in result.refused:
        say(line)
    typer.echo(f"sent {result.sent} entries of {shlex.quote(str(run))}; see {tracking.run_address(run)}")


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version of the registered model.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = "champion",
) -> None:
    """Point the alias to a version of the registered model; nothing else ever moves it."""
    from melanoma import tracking

    tracking.promote(version, alias=alias)
    typer.echo(f"models:/melanoma@{alias} is version {version} now")
