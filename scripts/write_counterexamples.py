"""Write `src/melanoma/data/counterexamples.npy`: what the domain check is fitted against. Takes two minutes.

    python scripts/write_counterexamples.py

To be run again whenever `inference/description.py` changes, or a file of `data/` that draws counterexamples.
"""

from pathlib import Path

import numpy as np

from melanoma.data.counterexamples import describe_anew, name_photographs
from melanoma.files import replacing

TARGET = Path(__file__).resolve().parents[1] / "src" / "melanoma" / "data" / "counterexamples.npy"


def main() -> None:
    """Draw and describe them all; half precision is a hundredth of a feature's spread."""
    features = describe_anew(range(len(name_photographs()))).astype(np.float16)
    with replacing(TARGET) as temporary, temporary.open("wb") as file:
        np.save(file, features)


if __name__ == "__main__":
    main()
