"""Fails when prediction has become slower than `results.json` says; run by `scripts/check`, in half a minute.

    python benchmarks/speed_guard.py            compare
    python benchmarks/speed_guard.py --keep     measure the guarded ratios anew and keep them
    python benchmarks/speed_guard.py --write    measure all anew and write results.json and its table

Ratios inside one run are compared, never seconds, and a loss of up to 30 % passes. All are of processor time and not of
the clock, each the least of several rounds, so that what else the machine does hardly counts; against bare code and
not against Keras, whose own time differs by half between two runs. A run that fails is made once more. The folder has
so few images that threads judge it, not the processes of a large one.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import speed

from melanoma import load_predictor
from melanoma.data.synthetic import write_collection
from melanoma.inference import bundle as bundles

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- speed -->", "<!-- end of speed -->"
ALLOWED = 1.3
IMAGES, ROUNDS = 40, 6
BARE = """
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
network, image = sys.argv[1:]
interpreter = Interpreter(model_path=network, num_threads=1)
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
pixels = np.asarray(Image.open(image).convert("RGB").resize(details["shape"][1:3], Image.Resampling.BILINEAR))
interpreter.set_tensor(details["index"], pixels[None].astype(np.float32) / 127.5 - 1)
interpreter.invoke()
"""


def measure() -> dict[str, float]:
    """The guarded ratios; the less the better."""
    with tempfile.TemporaryDirectory() as name:
        folder = write_collection(Path(name) / "drawn", n=IMAGES, seed=0)
        paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
        parts = speed.measure_parts(paths[:8], 2 * ROUNDS, time.process_time)
        least = parts["decode"] + parts["prepare"] + parts["network"]
        rows = ["--format", "csv", "-o", str(Path(name) / "rows.csv")]
        bare = [sys.executable, "-c", BARE, str(bundles.default_folder() / bundles.NETWORK), paths[0]]
        rounds = [
            {
                "bare": speed.run(bare).cpu,
                "one": speed.run([*speed.COMMAND, paths[0]]).cpu,
                "folder": speed.run([*speed.COMMAND, str(folder), *rows]).cpu,
                "explained": speed.run([*speed.COMMAND, str(folder), *rows, "--explain", name + "/seen"]).cpu,
                "threads": run_threads(len(paths)),
            }
            for _ in range(ROUNDS)
        ]
    cpu = {name: min(one[name] for one in rounds) for name in rounds[0]}
    each, bare_each = (cpu["folder"] - cpu["one"]) / (len(paths) - 1), cpu["threads"] / len(paths)
    return {
        "one image, a whole process: to bare code": cpu["one"] / cpu["bare"],
        "one image, warm: to its parts": parts["whole"] / least,
        "a folder, an image: to the network alone in as many threads": each / bare_each,
        "a folder with overlays: to one without": cpu["explained"] / cpu["folder"],
    }


def run_threads(count: int) -> float:
    """Processor seconds that the network alone takes for so many images, a thread a core."""
    predictor = load_predictor()
    picture = np.zeros((300, 300, 3), np.uint8)

    def work() -> None:
        for _ in range(max(count // speed.CORES, 1)):
            predictor.run(picture)

    threads = [threading.Thread(target=work) for _ in range(speed.CORES)]
    began = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - began) * count / (max(count // speed.CORES, 1) * speed.CORES)


def compare(found: dict[str, float], kept: dict[str, float]) -> Iterator[str]:
    """A line for each ratio that is worse than the kept one by more than is allowed."""
    for name, before in kept.items():
        if found[name] > ALLOWED * before:
            yield f"{name}: {found[name]:.2f}, was {before:.2f}"


def guard() -> int:
    """0 when nothing is slower, 1 when something is."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["guard"]
    for attempt in (1, 2):
        began = time.monotonic()
        found = measure()
        worse = list(compare(found, kept))
        figures = ", ".join(f"{value:.2f}" for value in found.values())
        print(
            f"speed, try {attempt}: {figures}: {'; '.join(worse) or 'as before'} ({time.monotonic() - began:.0f} s)"
        )
        if not worse:
            return 0
    return 1


def keep() -> None:
    """The guarded ratios into results.json; the rest stays."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    RESULTS.write_text(json.dumps(results | {"guard": measure()}, indent=1) + "\n", encoding="utf-8")


def write() -> None:
    """Both runs into results.json, and the table of the full one into the document."""
    results = {
        "about": speed.describe(),
        "full": speed.measure(None),
        "guard": measure(),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{render(results)}{END}{after}", encoding="utf-8")


def render(results: dict[str, Any]) -> str:
    """The table as Markdown."""
    about = results["about"]
    lines = [f"{about['machine']}; bundle {about['bundle'][:12]}.", ""]
    for part, figures in results["full"].items():
        lines += [f"| {part} | |", "|---|---|"]
        lines += [f"| {name} | {_show(name, value)} |" for name, value in figures.items()]
        lines.append("")
    return "\n".join(lines)


def _show(name: str, value: float) -> str:
    if name.startswith("share") or "cores busy" in name:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value >= 100 or "MB" in name or name == "images" else f"{value:.2f}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    elif "--keep" in sys.argv:
        keep()
    else:
        sys.exit(guard())
