"""`melanoma tune`: a search over recipes."""

from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress


def tune(
    data: options.Data,
    space: Annotated[Path, typer.Option(help="YAML file of recipe keys and what each may be.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the search; a stopped one goes on.")
    ],
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a YAML file.")] = "default",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of the recipe in every trial.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many recipes to try.")] = 20,
    cluster: Annotated[str, typer.Option(help="Ray: auto for this machine, or HOST:PORT.")] = "auto",
    groups: options.Groups = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
) -> None:
    """Search recipes for the highest mean AUROC on sources left out; given test images choose nothing."""
    from melanoma import cluster as ray_cluster
    from melanoma import search
    from melanoma.config import load_recipe
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    labels = options.parse_labels(label)
    base = load_recipe(recipe, set_ or [])
    ranges = search.read_space(space, recipe, set_ or [])
    with show_progress("reading the images") as update:
        manifest = manifests.load(data, labels=labels, progress=update)
    say(manifests.describe(manifest))
    folds = search.make_folds(manifest, base, seed, splitting.load_groups(groups) if groups else None)
    sources = [f"{source.name}={Path(source.path).absolute()}" for source in manifest.sources]
    settings = {
        "space": [[one.key, one.kind, list(one.values)] for one in ranges],
        "recipe": base.model_dump(),
        "trials": trials,
        "seed": seed,
        "labels": labels,
        "sources": sources,
        "splits": [fold.digest for _, fold in folds],
    }
    search.begin(output, settings, folds, base)
    names = tuple(source for source, _ in folds)
    asked = search.Trials(output.absolute(), names, tuple(sources), seed, labels)
    try:
        with ray_cluster.connect(cluster):
            table = search.execute(asked, ranges, trials, ray_cluster.run_trials, say)
    except KeyboardInterrupt:
        say("the same command goes on where this one stopped")
        raise
    best = table.iloc[0]
    typer.echo(
        f"best of {len(table)} trials: {best['trial']}, mean AUROC without a source {best['auroc']:.3f}"
    )
    typer.echo("chosen on these figures, so they are too good; judge the recipe on images that chose nothing")
    typer.echo(
        f"recipe: {output / search.BEST}; all trials: {output / search.TRIALS}, {output / search.PICTURE}"
    )
