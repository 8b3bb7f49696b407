"""The predictor behind `--bundle`."""

from pathlib import Path

from melanoma.inference.predictor import Predictor, load_predictor

MODELS = Path("~/.cache/melanoma/models")  # where bundles of the registry are kept


def open_predictor(
    bundle: str | None, *, prevalence: float | None = None, domain_check: bool = True
) -> Predictor:
    """The predictor behind `--bundle`, fetched from the registry when it is a `models:/` address."""
    if bundle is not None and bundle.startswith("models:/"):
        from melanoma.tracking import fetch_bundle

        bundle = str(fetch_bundle(bundle, MODELS.expanduser()))
    return load_predictor(bundle, prevalence=prevalence, domain_check=domain_check)
