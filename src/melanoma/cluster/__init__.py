"""Ray, and the only importer of it: many processes, here or on many machines."""

from melanoma.cluster.connection import HERE, check_address, connect
from melanoma.cluster.trials import run_trials
from melanoma.cluster.work import apply, run_jobs, score

__all__ = ["HERE", "apply", "check_address", "connect", "run_jobs", "run_trials", "score"]
