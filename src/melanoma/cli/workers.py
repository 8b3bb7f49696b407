"""`melanoma train --workers`: who trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from melanoma.errors import ConfigError

if TYPE_CHECKING:
    from melanoma.config import Recipe
    from melanoma.training.fit import Fit


@contextmanager
def choose_fit(recipe: "Recipe", workers: int, cluster: str | None) -> "Iterator[Fit]":
    """The function that trains: one device, `workers` devices of this machine, or as many processes on a cluster.

    Raises ConfigError and ClusterError.
    """
    from melanoma.training.fit import fit

    if workers > recipe.training.batch_size:
        raise ConfigError(
            f"--workers {workers} cannot share batches of {recipe.training.batch_size}; raise training.batch_size"
        )
    if workers == 1:
        yield fit
    elif cluster is None:
        from melanoma.training.team import gather_devices

        yield partial(fit, team=gather_devices(workers))
    else:
        from melanoma import cluster as ray_cluster
        from melanoma.cluster import team

        with ray_cluster.connect(cluster):
            yield partial(team.fit, workers=workers)
