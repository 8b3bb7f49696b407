"""Find melanoma in dermoscopic images. Research software, not a medical device.

The Python quick start::

    from melanoma import load_predictor
    predictor = load_predictor()
    print(predictor.predict("lesion.jpg"))
"""

from typing import TYPE_CHECKING, Any

from melanoma.version import __version__

if TYPE_CHECKING:
    from melanoma.inference.predictor import Prediction, Predictor, load_predictor

__all__ = ["Prediction", "Predictor", "__version__", "load_predictor"]


def __getattr__(name: str) -> Any:
    """Import the predictor only when it is asked for, so that `import melanoma` costs nothing."""
    if name in {"Prediction", "Predictor", "load_predictor"}:
        from melanoma.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
