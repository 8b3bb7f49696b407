"""The predictor in use, which another may replace while requests run."""

import threading
from collections.abc import Callable

import numpy as np

from melanoma.inference.predictor import Predictor
from melanoma.serving import logs

Load = Callable[[], Predictor]


class LiveModel:
    """`predictor` is taken once a request, so one answer never mixes two bundles."""

    def __init__(self, predictor: Predictor, load: Load | None = None) -> None:
        self.predictor = predictor
        self._load = load
        self._lock = threading.Lock()

    def reload(self) -> str:
        """Load the bundle again: `replaced`, `unchanged`, or `failed`, and then the old one serves on."""
        if self._load is None:
            return "unchanged"
        with self._lock:
            try:
                new = self._load()
                new.run(np.full((64, 64, 3), 128, dtype=np.uint8))  # one that cannot judge must not serve
            except Exception as error:  # whatever a foreign bundle leads to
                logs.fail("reload", error)
                return "failed"
            if new.digest == self.predictor.digest:
                return "unchanged"
            self.predictor = new
            logs.write("reload", bundle_digest=new.digest)
            return "replaced"
