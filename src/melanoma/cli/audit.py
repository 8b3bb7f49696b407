"""`melanoma audit`: what a collection of images is worth."""

from contextlib import ExitStack
from functools import partial
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
    cluster: Annotated[
        str | None,
        typer.Option(help="Read the images on Ray: auto, or HOST:PORT, whose nodes see the same paths."),
    ] = None,
) -> None:
    """Find repeats, leaks, broken files, and what tells the class without the lesion."""
    from melanoma.audit import audit as auditing
    from melanoma.audit import pictures, report, summary

    inputs.check_output(output, data, report.NAMES)
    with ExitStack() as stack:
        elsewhere = None
        if cluster is not None:
            from melanoma import cluster as ray_cluster

            stack.enter_context(ray_cluster.connect(cluster))
            elsewhere = partial(ray_cluster.apply, pictures.read_chunk)
        progress = stack.enter_context(show_stages())
        found = auditing.run(
            data,
            output,
            labels=options.parse_labels(label),
            seed=seed,
            progress=progress,
            elsewhere=elsewhere,
        )
    report.save(found, output)
    auditing.discard_work(output)
    for line in summary.list_findings(found):
        typer.echo(line)
    typer.echo(f"report: {output / 'report.html'}; groups for melanoma split: {output / 'groups.csv'}")
