"""A search with Ray Tune."""

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from melanoma.cluster.nodes import check_folder, check_workers, list_nodes

if TYPE_CHECKING:  # a node that only judges has no pandas
    import pandas as pd

    from melanoma.search import Range, Trials

FAILURES = 3  # nodes that may die under one trial; a run that fails for a reason of its own is tried as often


def run_trials(trials: "Trials", space: "Sequence[Range]", n: int) -> "pd.DataFrame":
    """`n` trials with values drawn at random, some side by side; see `search.execute` for what comes back.

    A trial that is worse than others after as many sources is stopped (ASHA). Interrupted, the same call goes on.
    """
    import pandas as pd
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    check_workers(training=True)
    check_folder(trials.folder)
    draw = {
        "choice": lambda values: tune.choice(list(values)),
        "uniform": lambda values: tune.uniform(*values),
        "log_uniform": lambda values: tune.loguniform(*values),
        "integer": lambda values: tune.randint(values[0], values[1] + 1),
    }
    cores = min(int(node["Resources"]["CPU"]) for node in list_nodes())
    work = tune.with_resources(tune.with_parameters(_run_trial, trials=trials), {"cpu": cores})
    storage = trials.folder / "ray"
    if tune.Tuner.can_restore(str(storage / "search")):
        tuner = tune.Tuner.restore(
            str(storage / "search"), work, resume_unfinished=True, restart_errored=True
        )
    else:
        tuner = tune.Tuner(
            work,
            param_space={one.key: draw[one.kind](one.values) for one in space},
            tune_config=tune.TuneConfig(
                num_samples=n,
                trial_name_creator=_name_trial,
                search_alg=BasicVariantGenerator(random_state=trials.seed),
                scheduler=ASHAScheduler(
                    time_attr="sources", metric="auroc", mode="max", max_t=len(trials.sources), grace_period=1
                ),
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(storage),
                verbose=0,
                callbacks=[_make_teller(n)],
                failure_config=tune.FailureConfig(max_failures=FAILURES),
            ),
        )
    with contextlib.redirect_stdout(io.StringIO()):  # Ray Tune praises itself there
        results = tuner.fit()
    return pd.DataFrame([_describe_trial(result) for result in results])


def _name_trial(trial: Any) -> str:
    return f"trial-{trial.trial_id}"


def _make_teller(n: int) -> Any:
    """Says on standard error what each trial comes to."""
    from ray import tune

    class Teller(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, trials: list[Any], trial: Any, result: Any, **_: Any) -> None:
            told = f"{trial}: mean AUROC {result['auroc']:.3f} without {result['sources']} sources"
            print(f"{told}; {len(trials)} of {n} begun", file=sys.stderr)  # noqa: T201 - Ray has its own thread here

    return Teller()


def _run_trial(config: dict[str, Any], trials: "Trials") -> None:
    from ray import tune

    name = tune.get_context().get_trial_name()
    for sources, auroc in trials.run(name, config):
        tune.report({"sources": sources, "auroc": auroc, "trial": name})


def _describe_trial(result: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    told = {
        "trial": metrics.get("trial", ""),
        "sources": metrics.get("sources", 0),
        "auroc": metrics.get("auroc"),
    }
    return {**told, **(result.config or {})}
