"""How well melanoma is told from the rest under any weighting of the images: what groups and models are compared by."""

from typing import Final

import numpy as np

from melanoma.evaluation.metrics import Bools, Floats, Outcomes, Ranking

NAMES: Final = ("auroc", "partial_auroc", "sensitivity", "specificity")


class Discrimination:
    """Sorts once, for any number of weightings. AUROCs are those of the images in `ranked` (n,)."""

    def __init__(self, outcomes: Outcomes, ranked: Bools) -> None:
        self._ranking = Ranking.of(outcomes.y_true, outcomes.y_prob, ranked)
        melanoma = outcomes.y_true == 1
        cells = [melanoma, melanoma & outcomes.referred, ~melanoma, ~melanoma & ~outcomes.referred]
        self._cells = np.column_stack(cells).astype(np.float64)

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """NAMES under each weighting, (r, n) to (r,); NaN where a figure does not exist."""
        melanoma, found, others, spared = (weights @ self._cells).T
        with np.errstate(invalid="ignore"):
            sensitivity, specificity = found / melanoma, spared / others
        return {
            "auroc": self._ranking.auroc(weights),
            "partial_auroc": self._ranking.partial_auroc(weights),
            "sensitivity": sensitivity,
            "specificity": specificity,
        }
