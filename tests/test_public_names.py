import pytest

import melanoma


def test_public_names():
    expected = ["Prediction", "Predictor", "__version__", "load_predictor"]
    assert melanoma.__all__ == expected
    assert all(getattr(melanoma, name) for name in expected)
    with pytest.raises(AttributeError, match="no_such_name"):
        melanoma.no_such_name  # noqa: B018
