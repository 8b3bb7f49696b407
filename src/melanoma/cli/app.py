"""The Typer application: every command but `predict`, which starts without Typer (see `main`)."""

import sys

import typer
from typer.exceptions import TyperException

from melanoma.cli import (
    audit,
    average,
    baseline,
    calibrate,
    check_explanations,
    data,
    demo,
    evaluate,
    export,
    models,
    predict,
    serve,
    split,
    stress,
    track,
    train,
    tune,
)
from melanoma.errors import ConfigError
from melanoma.version import __version__

app = typer.Typer(
    name="melanoma",
    help="Find melanoma in dermoscopic images, and prove how well it works. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    "predict",
    help=predict.HELP,
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def pass_on(context: typer.Context) -> None:
    """Hand the arguments on as they are; `main` does so without coming here."""
    predict.run(context.args)


app.command()(evaluate.evaluate)
app.command()(stress.stress)
app.command()(audit.audit)
app.command()(calibrate.calibrate)
app.command()(check_explanations.check_explanations)
app.command()(split.split)
app.command()(train.train)
app.command()(average.average)
app.command()(tune.tune)
app.command()(baseline.baseline)
app.command()(export.export)
app.command()(serve.serve)
app.command()(demo.demo)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(track.app, name="track")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"melanoma {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Say which."
    ),
) -> None:
    """Options before the command."""
    del version


def run() -> None:
    """Run the command that `sys.argv` names. Raises ConfigError, KeyboardInterrupt, and SystemExit with a code."""
    try:
        code = app(prog_name="melanoma", standalone_mode=False)
        if code == 130:  # what newer versions of Typer make of Ctrl-C
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
    except typer.Abort as error:  # older ones
        raise KeyboardInterrupt from error
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # the help text, when a command is missing
            typer.echo(message)
            sys.exit(2)
        raise ConfigError(f"{message.rstrip('.')}; see --help") from error
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer makes it a failure
            sys.exit(0)
        raise
