import json

import numpy as np
import pytest

from conftest import draw, require_extra

require_extra("tensorflow", "train")
for module in ("onnx", "tf2onnx"):
    require_extra(module, "export")
onnxruntime = pytest.importorskip("onnxruntime")

import keras

from melanoma.config import InputConfig, ModelConfig
from melanoma.errors import OutputError
from melanoma.inference import bundle as bundles
from melanoma.inference.calibration import Calibration
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.training.export import export_litert
from melanoma.training.models import create_model
from melanoma.training.onnx_file import write_onnx


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory):
    """Of an untrained network."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("small")
    model = create_model(ModelConfig(), InputConfig(size=48))
    export_litert(model, folder / "network.tflite")
    return bundles.save(
        folder / "bundle",
        folder / "network.tflite",
        name="small",
        preprocessing=Preprocessing(48),
        calibration=Calibration(slope=2.0, intercept=-0.3, prevalence=0.4, n=9),
        operating_point=OperatingPoint(0.2, 0.95, 1.0, 0.5, 20, 20),
        facts={},
    )


def open_session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def draw_images(n):
    return [draw(seed, 90, 120, melanoma=bool(seed % 2)) for seed in range(n)]


def compare(bundle, path, pictures, expected=None):
    """Largest difference of `y_prob`, and of the heat map, from what the predictor says, or said."""
    session, predictor = open_session(path), Predictor(bundle, domain_check=False)
    names = [output.name for output in session.get_outputs()]
    assert names == ["y_prob", "logit", "embedding", "heatmap"]
    apart = []
    for image, output in zip(pictures, expected or map(predictor.run, pictures), strict=True):
        pixels = prepare(image, bundle.preprocessing)[None]
        answers = dict(zip(names, session.run(None, {"image": pixels}), strict=True))
        y_prob = bundle.calibration.transform(output.logit)
        apart.append((abs(answers["y_prob"] - y_prob).max(), abs(answers["heatmap"] - output.heatmap).max()))
    return np.max(apart, axis=0)


def test_the_shipped_network_answers_alike_over_200_images_twice(tmp_path):
    bundle = bundles.load(bundles.default_folder())
    write_onnx(bundle, tmp_path / "network.onnx")
    pictures, predictor = draw_images(200), Predictor(bundle, domain_check=False)
    expected = [predictor.run(picture) for picture in pictures]
    first, again = (compare(bundle, tmp_path / "network.onnx", pictures, expected) for _ in range(2))
    assert (first < 1e-4).all()
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("weights", "size", "apart"), [("float16", 0.51, 2e-3), ("int8_weights", 0.27, 0.05)]
)
def test_smaller_weights_answer_nearly_alike(small_bundle, tmp_path, weights, size, apart):
    write_onnx(small_bundle, tmp_path / "whole.onnx")
    write_onnx(small_bundle, tmp_path / "small.onnx", weights)
    assert compare(small_bundle, tmp_path / "whole.onnx", draw_images(10))[0] < 1e-5
    assert 1e-7 < compare(small_bundle, tmp_path / "small.onnx", draw_images(10))[0] < apart
    whole, small = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("whole", "small"))
    assert small < size * whole


def test_the_file_says_how_to_judge(small_bundle, tmp_path):
    write_onnx(small_bundle, tmp_path / "network.onnx")
    said = json.loads(open_session(tmp_path / "network.onnx").get_modelmeta().custom_metadata_map["melanoma"])
    assert said["bundle_digest"] == small_bundle.digest
    assert said["classes"] == ["other", "melanoma"]
    assert Preprocessing.from_dict(said["preprocessing"]) == small_bundle.preprocessing
    assert Calibration.from_dict(said["calibration"]) == small_bundle.calibration
    assert OperatingPoint.from_dict(said["operating_point"]) == small_bundle.operating_point


def test_a_place_that_cannot_be_written_is_said(small_bundle, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_onnx(small_bundle, tmp_path / "file" / "network.onnx")
