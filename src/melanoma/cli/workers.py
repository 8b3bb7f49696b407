"""Who trains: one device, several, a cluster, or nobody when runs are averaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.errors import ConfigError

if TYPE_CHECKING:
    from melanoma.config import Recipe
    from melanoma.run_images import Request
    from melanoma.training.fit import Fit


@contextmanager
def choose_fit(request: "Request", recipe: "Recipe", folder: Path) -> "Iterator[Fit]":
    """The function that trains: one device, several of this machine, or as many processes on a cluster.

    A run in `folder` that has all its epochs needs nobody. Raises ConfigError and ClusterError.
    """
    from melanoma.training.fit import count_epochs, fit

    workers, cluster = request.workers, request.cluster
    if cluster is not None and workers == 1:
        raise ConfigError("--cluster needs --workers N, --folds N or --leave-source-out")
    if workers > recipe.training.batch_size:
        raise ConfigError(
            f"--workers {workers} cannot share batches of {recipe.training.batch_size}; raise training.batch_size"
        )
    if request.average:
        from melanoma.training import averaging

        yield partial(averaging.fit, members=[Path(member) for member in request.average])
    elif workers == 1 or count_epochs(folder / "checkpoints") >= recipe.training.epochs:
        yield fit
    elif cluster is None:
        from melanoma.training.team import gather_devices

        yield partial(fit, team=gather_devices(workers))
    else:
        from melanoma import cluster as ray_cluster
        from melanoma.cluster import team

        with ray_cluster.connect(cluster):
            team.share_cores(workers)  # says so before anything is written
            yield partial(team.fit, workers=workers)
