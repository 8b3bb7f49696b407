"""Write `src/melanoma/data/counterexamples.npy`: what the domain check is fitted against. Takes half a minute.

    python scripts/write_counterexamples.py

To be run again whenever `inference/description.py` or `data/counterexamples.py` changes.
"""

from pathlib import Path

import numpy as np

from melanoma.data.counterexamples import COUNT, describe_first
from melanoma.files import replacing

TARGET = Path(__file__).resolve().parents[1] / "src" / "melanoma" / "data" / "counterexamples.npy"


def main() -> None:
    """Draw and describe them all; half precision is a hundredth of a feature's spread."""
    with replacing(TARGET) as temporary, temporary.open("wb") as file:
        np.save(file, describe_first(COUNT).astype(np.float16))


if __name__ == "__main__":
    main()
