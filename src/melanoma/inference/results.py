"""`results.json` beside a bundle's files: how often it was right on images that did not make it."""

import json
from typing import Any

from melanoma.inference.bundle import Bundle

FILE = "results.json"
FORMAT_VERSION = 1
SET = {"name": str, "n_melanoma": int, "n_other": int, "figures": dict}
WHOLE = {**SET, "where": str, "coverage": (int, float), "sources": list}


def read(bundle: Bundle) -> list[dict[str, Any]]:
    """One entry a set of judged images, as `evaluation.card_results.collect` makes them; none that can be used: [].

    The file is not hashed by the bundle, since what it says is found out later; it names the bundle it speaks of, and
    that of another is not taken.
    """
    try:
        values = json.loads((bundle.folder / FILE).read_bytes())
        if values["format_version"] != FORMAT_VERSION or values["bundle_digest"] != bundle.digest:
            return []
        found = list(values["results"])
        whole = all(_has(one, WHOLE) and all(_has(part, SET) for part in one["sources"]) for one in found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return found if whole else []


def _has(entry: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in wanted.items())
