"""Files here or elsewhere: local paths, and addresses that fsspec knows, such as s3:// and https://."""

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec import AbstractFileSystem

from melanoma.errors import ConfigError, ImageError, StorageError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
LOCAL = frozenset({"file", "local"})


def is_address(path: str) -> bool:
    """Whether this is an address such as s3://bucket/name, and no local path."""
    return ADDRESS.match(path) is not None


@lru_cache(maxsize=64)
def _open_system(protocol: str) -> AbstractFileSystem:
    return fsspec.filesystem(protocol)


def find_system(path: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or address, and what the path is called there. Raises ConfigError.

    Who may read and where a store lies is taken from the environment, as its library has it (`AWS_ACCESS_KEY_ID`,
    `AWS_ENDPOINT_URL` and so on).
    """
    protocol = path.partition("://")[0].lower() if is_address(path) else "file"
    try:
        system = _open_system(protocol)
    except ValueError as error:
        raise ConfigError(f"{path}: addresses that begin with {protocol}:// are not known") from error
    except ImportError as error:
        raise ConfigError(f"{path}: {error}") from error
    return system, os.path.abspath(path) if protocol == "file" else system._strip_protocol(path)  # noqa: PTH100


def is_local(system: AbstractFileSystem) -> bool:
    """Whether files lie on this machine or a mounted disk."""
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    return protocol in LOCAL


def name_of(path: str) -> str:
    """The last part of a path or address."""
    return PurePosixPath(unquote(urlsplit(path).path) if is_address(path) else path).name


@contextmanager
def explaining(path: str) -> Iterator[None]:
    """Turn whatever a store's library raises into one StorageError about `path`."""
    try:
        yield
    except (StorageError, ConfigError, ImageError):
        raise
    except Exception as error:  # every library has its own
        raise StorageError(explain(path, error)) from error


def explain(path: str, error: BaseException) -> str:
    """What went wrong with a path, in one line."""
    name = type(error).__name__
    if isinstance(error, FileNotFoundError) or "404" in str(error):
        return f"{path} is not there"
    if isinstance(error, PermissionError) or name in {"NoCredentialsError", "ClientError"}:
        return f"{path} may not be read or written with these credentials ({' '.join(str(error).split())})"
    return f"{path}: {' '.join(str(error).split()) or name}"


def read_many(system: AbstractFileSystem, paths: Sequence[str]) -> list[bytes | Exception]:
    """The bytes of each, read side by side where the store can, or why they cannot be had."""
    if not paths:
        return []
    whole = [None] * len(paths)  # `cat` would take [ and * in names for patterns
    found: list[bytes | Exception] = system.cat_ranges(list(paths), whole, whole, on_error="return")
    return found


def write(system: AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file that is there whole or not at all. Stores put an object in one go; a disk is renamed on."""
    if not is_local(system):
        system.pipe_file(path, content)
        return
    parent, name = os.path.split(path)
    os.makedirs(parent, exist_ok=True)  # noqa: PTH103
    temporary = os.path.join(parent, f".{uuid.uuid4().hex}.{name}")  # noqa: PTH118
    try:
        with open(temporary, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        if os.path.exists(temporary):  # noqa: PTH110
            os.unlink(temporary)  # noqa: PTH108
        raise


def list_names(system: AbstractFileSystem, folder: str) -> dict[str, dict[str, Any]]:
    """Names and details of what lies in a folder; none where there is no such folder."""
    try:
        system.invalidate_cache()
        return {name_of(one["name"]): one for one in system.ls(folder, detail=True)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
