"""Tracking with MLflow: the only room that imports it, and not before something is sent."""

from melanoma.tracking.connection import default_tracking_uri
from melanoma.tracking.registry import fetch_bundle, promote
from melanoma.tracking.sender import SyncResult
from melanoma.tracking.system import system_metrics
from melanoma.tracking.tracker import Tracker, run_address, run_id_of, sync

__all__ = [
    "SyncResult",
    "Tracker",
    "default_tracking_uri",
    "fetch_bundle",
    "promote",
    "run_address",
    "run_id_of",
    "sync",
    "system_metrics",
]
