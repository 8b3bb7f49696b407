"""LiteRT and ONNX Runtime on the network that ships, or another: threads, precision, batch; one view an image.

    python benchmarks/runtime.py [--rounds 5] [--network original_cnn]

All in turn in one process, several rounds, the best of them; milliseconds an image. `float16` and `int8 weights` are
how the weights are stored: LiteRT computes float16 ones in float32, and int8 ones with activations quantised as they
come; ONNX Runtime turns both into float32 when it loads them. `int8`: the feature maps are computed so, in ranges of
noise here, which changes what is found and not how long it takes. Needs the extras train, export and dev.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from melanoma import load_predictor
from melanoma.config import InputConfig, ModelConfig
from melanoma.training import models, onnx_file
from melanoma.training.export import Quantize, export_litert

IMAGES = 24
BATCHES, THREADS = (1, 8, 32), (1, 2)
NAMES: dict[Quantize, str] = {
    "none": "float32",
    "float16": "float16",
    "int8_weights": "int8 weights",
    "int8": "int8",
}
Run = Callable[[], object]


def create_network(name: str | None) -> Any:
    """The Keras network of that name, untrained, at the original's size; without a name the one that ships."""
    if name is not None:
        return models.create_model(ModelConfig(name=name), InputConfig(size=150))
    facts = load_predictor().bundle.facts["recipe"]
    config = ModelConfig(name=facts["model"]["name"], weights="shipped")
    return models.create_model(config, InputConfig(**facts["input"]))


def convert(network: Any, weights: Quantize) -> bytes:
    """LiteRT's file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.tflite"
        rng = np.random.default_rng(0)
        samples = [rng.uniform(-1, 1, network.input_shape[1:]).astype(np.float32) for _ in range(8)]
        export_litert(network, file, weights, samples=samples)
        return file.read_bytes()


def open_litert(content: bytes, threads: int, pixels: np.ndarray[Any, Any]) -> Run:
    """One call of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    place = interpreter.get_input_details()[0]["index"]
    if len(pixels) > 1:
        interpreter.resize_tensor_input(place, pixels.shape)
    interpreter.allocate_tensors()

    def run() -> None:
        interpreter.set_tensor(place, pixels)
        interpreter.invoke()

    return run


def open_onnx(
    files: dict[Quantize, bytes], weights: Quantize, threads: int, pixels: np.ndarray[Any, Any]
) -> Run:
    """One call of ONNX Runtime on the same network, translated."""
    import onnxruntime
    from tf2onnx import convert as translate

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.tflite"
        file.write_bytes(files["int8" if weights == "int8" else "none"])
        model = translate.from_tflite(str(file), opset=onnx_file.OPSET)[0]
    if weights != "int8":
        onnx_file._store_weights(model, weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: pixels})


def clock(runs: dict[Any, Run], sizes: dict[Any, int], rounds: int) -> dict[Any, float]:
    """Best milliseconds an image of each, all in turn."""
    best = dict.fromkeys(runs, np.inf)
    for _ in range(rounds + 1):  # the first warms up
        for key, run in runs.items():
            times = max(1, 32 // sizes[key])
            began = time.perf_counter()
            for _ in range(times):
                run()
            best[key] = min(best[key], 1000 * (time.perf_counter() - began) / times / sizes[key])
    return best


def fill_cores(rounds: int) -> None:
    """Print how the bundle that ships fills the cores: one interpreter with a thread a core, or one a core."""
    content, cores = load_predictor().bundle.read_network(), os.cpu_count() or 1
    size = load_predictor().bundle.preprocessing.size
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    share = max(IMAGES // cores, 1)
    count = share * cores
    one, every = open_litert(content, 1, pixels), open_litert(content, cores, pixels)
    each = [open_litert(content, 1, pixels) for _ in range(cores)]

    def side_by_side() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda run: [run() for _ in range(share)], each))

    ways: dict[str, Run] = {
        "one thread": lambda: [one() for _ in range(count)],
        "one interpreter, a thread a core": lambda: [every() for _ in range(count)],
        "an interpreter a core": side_by_side,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    print("\n| the bundle that ships, all its views | ms an image, best to worst round |\n|---|---|")
    for name, found in seconds.items():
        low, high = (1000 * value / count for value in (min(found[1:]), max(found[1:])))
        print(f"| {name} | {low:.1f} to {high:.1f} |")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=sorted(models.BUILDERS))
    asked = parser.parse_args()
    network = create_network(asked.network)
    rng = np.random.default_rng(0)
    runs: dict[Any, Run] = {}
    sizes = {}
    kinds = {
        weights: name
        for weights, name in NAMES.items()
        if weights != "int8" or network.name in models.PRETRAINED
    }
    files = {weights: convert(network, weights) for weights in kinds}
    for batch in BATCHES:
        pixels = rng.uniform(-1, 1, (batch, *network.input_shape[1:])).astype(np.float32)
        for weights, threads in product(kinds, THREADS):
            key = (kinds[weights], batch, threads)
            runs["LiteRT", *key] = open_litert(files[weights], threads, pixels)
            runs["ONNX Runtime", *key] = open_onnx(files, weights, threads, pixels)
            sizes["LiteRT", *key] = sizes["ONNX Runtime", *key] = batch
    best = clock(runs, sizes, asked.rounds)
    columns = list(product(BATCHES, THREADS))
    print("| ms an image | " + " | ".join(f"batch {b}, {t} thread{'s' * (t > 1)}" for b, t in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for runtime, kind in product(("LiteRT", "ONNX Runtime"), kinds.values()):
        cells = [f"{best[runtime, kind, batch, threads]:.2f}" for batch, threads in columns]
        print(f"| {runtime}, {kind} | " + " | ".join(cells) + " |")
    if asked.network is None:
        fill_cores(asked.rounds)


if __name__ == "__main__":
    main()
