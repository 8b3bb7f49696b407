import melanoma


def test_public_names():
    expected = ["Prediction", "Predictor", "__version__", "load_predictor"]
    assert melanoma.__all__ == expected
    for name in expected:
        assert getattr(melanoma, name) is not None
    try:
        melanoma.no_such_name  # noqa: B018
    except AttributeError as error:
        assert "no_such_name" in str(error)
