import subprocess
import sys

HEAVY = {
    "pandas", "scipy", "pyarrow", "tensorflow", "keras", "mlflow", "sklearn", "skimage", "matplotlib", "yaml", "cv2",
    "jinja2", "psutil", "filelock",
}  # fmt: skip
MODULES = "print(*{name.partition('.')[0] for name in sys.modules}, *sys.modules)"

COMMAND = f"""
import sys
from melanoma.cli.main import run
sys.argv = ["melanoma", "predict", sys.argv[1], "--bundle", sys.argv[2], "--explain", sys.argv[3]]
try:
    run()
except SystemExit as end:
    assert end.code == 0
{MODULES}
"""
PYTHON = f"import sys, melanoma; melanoma.load_predictor(sys.argv[2]).predict(sys.argv[1])\n{MODULES}"


def modules_after(code: str, *arguments: object) -> set[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_command_imports_nothing_heavy(image_files, tiny_bundle, tmp_path):
    modules = modules_after(COMMAND, image_files[0], tiny_bundle, tmp_path / "overlays")
    assert {"numpy", "PIL", "ai_edge_litert"} <= modules
    assert not modules & (HEAVY | {"melanoma.config", "typer", "pydantic", "rich"})


def test_the_predictor_imports_nothing_heavy(image_files, tiny_bundle):
    modules = modules_after(PYTHON, image_files[0], tiny_bundle)
    assert {"numpy", "PIL", "ai_edge_litert"} <= modules
    assert not modules & (HEAVY | {"pydantic", "typer", "rich"})


def test_importing_the_package_costs_nothing():
    modules = modules_after(f"import sys, melanoma\n{MODULES}")
    assert not modules & (HEAVY | {"pydantic", "numpy", "PIL", "ai_edge_litert", "typer"})
