"""`melanoma calibrate`: a bundle's calibration and operating point for one's own clinic."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import options, predictors
from melanoma.cli.progress import say, show_progress
from melanoma.errors import CalibrationError

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest
    from melanoma.inference.domain import Domain


def calibrate(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the new bundle.")],
    bundle: options.BundleOption = None,
    target_sensitivity: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="Sensitivity that the threshold is chosen for.")
    ] = 0.95,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of melanomas at the clinic, where the images hold another share."),
    ] = None,
    fit_domain_check: Annotated[
        bool,
        typer.Option(
            "--fit-domain-check",
            help="Fit the domain check on these images alone, at least 100; else the bundle's own is kept.",
        ),
    ] = False,
    groups: options.Groups = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    resamples: options.Resamples = 1000,
) -> None:
    """Calibrate a bundle on labelled images of one's own: a new bundle, and how sure it is."""
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting
    from melanoma.evaluation import recalibration
    from melanoma.inference.domain import check_enough

    predictor = predictors.open_predictor(bundle, prevalence=prevalence)
    recalibration.check_folder(output, predictor.bundle)
    table = splitting.load_groups(groups) if groups else None
    with show_progress("reading the images") as update:
        manifest = manifests.load(data, labels=options.parse_labels(label), progress=update)
    say(manifests.describe(manifest))
    if fit_domain_check:
        check_enough(len(manifest.table))
    if warning := recalibration.find_reuse(predictor.bundle, manifest):
        say(f"note: {warning}")
    group = splitting.find_groups(manifest, table).tolist()
    recalibration.check_enough(manifest.table["y_true"].to_numpy(), group)
    with show_progress("running the network") as update:
        logits = recalibration.run_network(predictor, manifest, group, progress=update)
    for line in recalibration.describe_unreadable(logits):
        say(line)
    result = recalibration.recalibrate(
        predictor.bundle.calibration,
        logits,
        target_sensitivity=target_sensitivity,
        prevalence=prevalence,
        resamples=resamples,
        seed=seed,
    )
    domain = _fit_domain(manifest) if fit_domain_check else None
    saved = recalibration.save(result, predictor.bundle, manifest, logits, output, domain=domain)
    typer.echo(recalibration.describe_before(predictor.bundle, logits))
    for line in recalibration.describe(result):
        typer.echo(line)
    typer.echo(recalibration.describe_domain(domain, predictor.bundle, logits))
    typer.echo(f"bundle: {output}, digest {saved.digest}")


def _fit_domain(manifest: "Manifest") -> "Domain":
    from melanoma.data import domain_fitting

    with show_progress("fitting the domain check") as update:
        domain = domain_fitting.fit_files(manifest.table["path"].tolist(), progress=update)
    if domain is None:
        raise CalibrationError(
            "too few of these images can be read to fit the domain check; leave the option out"
        )
    return domain
