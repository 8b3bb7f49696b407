"""Which images that were found to repeat a page shows side by side."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class Example:
    """Images to be shown side by side, by row number, and what is said of them."""

    rows: tuple[int, ...]
    caption: str


def choose_pairs(pairs: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` rows of a table with `first, second, score`, the weakest first.

    From the weakest to the strongest, closer together among the weak ones: those are what needs an eye.
    """
    ordered = pairs.sort_values(["score", "first", "second"], kind="stable", ignore_index=True)
    if len(ordered) <= count:
        return ordered
    even = np.linspace(0, 1, count)
    ranks = np.floor(even**2 * (len(ordered) - 1) + 0.5).astype(np.int64)
    return ordered.iloc[np.unique(np.maximum(ranks, np.arange(count)))]
