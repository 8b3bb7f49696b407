"""A folder of Parquet parts, one a block, local or at an address.

A part is there whole or not at all and its name is that of its block, so a block that is judged twice leaves one
part. `_plan.json`, written first, says what the parts are of; `_summary.json`, written last, that all are there.
"""

import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from melanoma.archive import storage
from melanoma.archive.table import to_table
from melanoma.errors import ConfigError, OutputError, StorageError
from melanoma.inference.prediction import Prediction

PLAN = "_plan.json"
SUMMARY = "_summary.json"
FORMAT_VERSION = 1
READERS = 16  # parts read at once when rows are counted: a store takes its time over each
PART = re.compile(r"part-(\d{6})\.parquet")


class Output:
    """The folder at `address`. Safe to send to another process."""

    def __init__(self, address: str) -> None:
        self.address = address if storage.is_address(address) else os.path.abspath(address)  # noqa: PTH100

    def begin(self, settings: dict[str, Any]) -> set[int]:
        """Write down what is to be judged and how, or find it the same; the numbers of the parts that are there.

        Raises ConfigError when the folder holds anything else, and then leaves it as it is; OutputError.
        """
        plan = json.dumps({"format_version": FORMAT_VERSION, **settings}, indent=2, sort_keys=True)
        try:
            names, found = self._look(plan)
        except Exception as error:  # every store has its own
            raise OutputError(f"cannot write there: {storage.explain(self.address, error)}") from error
        if not found and names:
            raise ConfigError(f"{self.address} holds something else; choose another --output")
        if found and found != plan:
            raise ConfigError(
                f"{self.address} holds results of {_tell_apart(found, plan)}; choose another --output"
            )
        return {int(part[1]) for name in names if (part := PART.fullmatch(name))}

    def _look(self, plan: str) -> tuple[list[str], str]:
        """What lies there, and the plan among it; into an empty folder this one is written."""
        system, folder = storage.find_system(self.address)
        names = list(storage.list_names(system, folder))
        if PLAN in names:
            return names, system.cat_file(f"{folder}/{PLAN}").decode()
        if not names:
            storage.write(system, f"{folder}/{PLAN}", plan.encode())
        return names, ""

    def has(self, number: int) -> bool:
        """Whether a part is there."""
        system, folder = storage.find_system(self.address)
        return bool(system.exists(f"{folder}/{_name(number)}"))

    def write(self, number: int, rows: Iterable[Prediction]) -> None:
        """Write a part. Raises StorageError."""
        file = io.BytesIO()
        parquet.write_table(to_table(rows), file)
        system, folder = storage.find_system(self.address)
        with storage.explaining(self.address):
            storage.write(system, f"{folder}/{_name(number)}", file.getvalue())

    def count(self, blocks: Sequence[int]) -> Counter[str]:
        """Rows by decision, those that could not be read as `error`, once all of these parts are there.

        `blocks`: how many images each has. Raises OutputError when a part is missing or has another number of rows.
        """
        counts: Counter[str] = Counter()
        pool = ThreadPoolExecutor(READERS)
        try:
            for part in pool.map(self._count_part, range(len(blocks)), blocks):
                counts.update(part)
        finally:
            pool.shutdown(cancel_futures=True)
        return counts

    def _count_part(self, number: int, n: int) -> Counter[str]:
        system, folder = storage.find_system(self.address)
        path = f"{folder}/{_name(number)}"
        try:
            with system.open(path, "rb") as file:
                rows = parquet.read_table(file, columns=["decision", "error"], use_threads=False).to_pylist()
        except (OSError, pa.ArrowException, StorageError) as error:
            raise OutputError(f"{path} cannot be read; delete it, and give the same command again") from error
        if len(rows) != n:
            raise OutputError(f"{path} has {len(rows)} rows in place of {n}; delete it, and run this again")
        return Counter("error" if row["error"] else row["decision"] for row in rows)

    def finish(self, counts: Counter[str], n: int) -> None:
        """Say that all is there."""
        system, folder = storage.find_system(self.address)
        text = json.dumps({"images": n, **dict(sorted(counts.items()))}, indent=2)
        with storage.explaining(self.address):
            storage.write(system, f"{folder}/{SUMMARY}", text.encode())


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def _tell_apart(found: str, plan: str) -> str:
    """What the two plans differ in, in words."""
    try:
        there, here = json.loads(found), json.loads(plan)
        differing = {key for key in here if here[key] != there.get(key)}
    except (ValueError, AttributeError):
        return "a damaged run"
    if "bundle" in differing:
        return "another bundle"
    return "other images" if differing <= {"images", "archive"} else "other options"
