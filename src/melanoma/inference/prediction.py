"""What the model says of one image."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from melanoma.inference.decision import Decision


@dataclass(frozen=True, slots=True)
class Prediction:
    """One result row.

    `y_prob`: calibrated probability of melanoma in [0, 1], None when the image could not be decoded; worth nothing
    where the decision is `cannot_assess`. `reason` explains `cannot_assess`; beside another decision it holds hints
    on the image's quality, parted by "; ", or nothing. `error` is set only when the image could not be decoded.
    """

    source: str
    path: str
    image_id: str
    y_prob: float | None
    decision: Decision
    reason: str
    error: str
    bundle_digest: str

    def to_dict(self) -> dict[str, str | float | None]:
        """The fields in their fixed order, as plain JSON types."""
        return {**asdict(self), "decision": str(self.decision)}


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Raw output for n images.

    `logit` float32 (n,); `embedding` float32 (n, d); `heatmap` float32 (n, h, w), non-negative, where the
    network saw melanoma.
    """

    logit: NDArray[np.float32]
    embedding: NDArray[np.float32]
    heatmap: NDArray[np.float32]
