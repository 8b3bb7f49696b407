"""A bundle's network as one HTML file that judges images in the browser, without any server."""

import base64
import gzip
import tempfile
from importlib import resources
from pathlib import Path

from melanoma.errors import ConfigError
from melanoma.files import write_text
from melanoma.inference.bundle import Bundle
from melanoma.training.onnx_file import Weights, describe, write_onnx

MODULE = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"


def check(bundle: Bundle, runtime: Path) -> None:
    """Raise ConfigError when the page cannot judge as the bundle does, or `runtime` is no onnxruntime-web."""
    spec = bundle.preprocessing
    if (spec.frame, spec.hair, spec.colour) != ("keep", "keep", "keep"):
        raise ConfigError(
            "the page does not know input.frame, input.hair and input.colour; export onnx instead"
        )
    if not all((runtime / "dist" / name).is_file() for name in (MODULE, WASM)):
        raise ConfigError(
            f"{runtime} holds no onnxruntime-web; run npm install onnxruntime-web@1.23.2 and name "
            "node_modules/onnxruntime-web"
        )


def write_page(bundle: Bundle, runtime: Path, path: Path, weights: Weights = "none") -> None:
    """Write the page. `runtime`: the folder of the npm package onnxruntime-web. Raises ConfigError and OutputError."""
    import jinja2

    check(bundle, runtime)
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.onnx"
        write_onnx(bundle, network, weights)
        packed = _pack(network.read_bytes())
    assets = resources.files("melanoma.training") / "browser"
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (assets / "page.html.j2").read_text(encoding="utf-8")
    )
    text = template.render(
        name=bundle.name,
        digest=bundle.digest,
        prevalence=f"{100 * bundle.calibration.prevalence:.0f}",
        description=_as_is(describe(bundle).replace("<", "\\u003c")),
        network=packed,
        runtime=_pack(_without_address((runtime / "dist" / MODULE).read_bytes())),
        wasm=_pack((runtime / "dist" / WASM).read_bytes()),
        style=_as_is((assets / "page.css").read_text(encoding="utf-8")),
        script=_as_is((assets / "page.js").read_text(encoding="utf-8")),
    )
    write_text(path, text)


def _without_address(module: bytes) -> bytes:
    """The runtime not knowing where it came from, so that it takes what it carries and fetches nothing.

    A page without a server has no address that more could come from; its security policy forbids it besides.
    """
    module = module.replace(b"return import.meta.url", b"return undefined")
    return module.replace(b"import.meta.url", b'"https://nowhere.invalid/"')


def _as_is(text: str) -> str:
    """Our own code, or JSON without a tag in it, which belongs in the page unescaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def _pack(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
