"""Where the server's bundle comes from: a folder, or MLflow's registry by way of another process."""

import subprocess
import sys
from pathlib import Path

from melanoma.errors import BundleError

FETCH = """
import sys
from pathlib import Path
from melanoma.errors import MelanomaError, MissingExtraError
try:
    from melanoma.tracking import fetch_bundle
    print(fetch_bundle(sys.argv[1], Path(sys.argv[2])))
except MelanomaError as error:
    sys.exit(str(error))
except ModuleNotFoundError as error:
    sys.exit(str(MissingExtraError("registry", error.name)))
"""
SECONDS = 120


def is_registered(address: str | None) -> bool:
    """True for `models:/name@alias` and the like."""
    return address is not None and address.startswith("models:/")


def find_folder(address: str | None, cache: Path) -> str | None:
    """The bundle's folder at this moment; a registered one is downloaded below `cache`. None: the shipped one.

    MLflow would treble the memory of this process, so another asks it. Raises BundleError.
    """
    if address is None or not is_registered(address):
        return address
    command = [sys.executable, "-c", FETCH, address, str(cache)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{address} did not come within {SECONDS} seconds; try again") from error
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode or not lines:
        raise BundleError(lines[-1] if lines else f"cannot fetch {address}")
    return lines[-1]
