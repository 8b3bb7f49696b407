"""`melanoma audit`: what a collection of images is worth."""

from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import inputs, options
from melanoma.cli.progress import show_stages


def audit(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("audit"),
    label: options.Labels = None,
    seed: options.Seed = 0,
) -> None:
    """Find repeats, leaks, broken files, and what tells the class without the lesion."""
    from melanoma.audit import audit as auditing
    from melanoma.audit import report, summary

    inputs.check_output(output, data, report.NAMES)
    with show_stages() as progress:
        found = auditing.run(data, output, labels=options.parse_labels(label), seed=seed, progress=progress)
    report.save(found, output)
    auditing.discard_work(output)
    for line in summary.list_findings(found):
        typer.echo(line)
    typer.echo(f"report: {output / 'report.html'}; groups for melanoma split: {output / 'groups.csv'}")
