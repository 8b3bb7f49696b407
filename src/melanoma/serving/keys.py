"""API keys: a file of names and sha256 digests. The keys themselves are kept nowhere."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.errors import ConfigError
from melanoma.files import write_text

LINE = re.compile(r"([\w.-]{1,64}) ([0-9a-f]{64})")


@dataclass(frozen=True)
class Keys:
    """Names by the sha256 of their keys, 256 random bits each, which is why one fast hash is enough."""

    digests: dict[str, str] = field(default_factory=dict, repr=False)

    def find(self, key: str) -> str | None:
        """Whose key it is, None when it is nobody's. Takes as long for either."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for known, name in self.digests.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def load(path: Path) -> Keys:
    """The keys of a file: a name and a digest a line, `#` before a comment. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
        raise ConfigError(f"cannot read the keys in {path}: {said}; make one with --add-key NAME") from error
    digests = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        parts = LINE.fullmatch(text)
        if parts is None:
            raise ConfigError(
                f"{path}, line {number}: not a name and a digest; make a key with --add-key NAME"
            )
        digests[parts[2]] = parts[1]
    if not digests:
        raise ConfigError(f"{path} holds no key; make one with --add-key NAME")
    return Keys(digests)


def add(path: Path, name: str) -> str:
    """A new key for `name`, whose digest is added to the file. Raises ConfigError, OutputError."""
    key = secrets.token_urlsafe(32)
    line = f"{name} {hashlib.sha256(key.encode()).hexdigest()}"
    if LINE.fullmatch(line) is None:
        raise ConfigError(f"{name!r} is no name for a key; use letters, digits, '.', '_' and '-'")
    old = ""
    if path.exists():
        if name in load(path).digests.values():
            raise ConfigError(
                f"{path} has a key for {name} already; take its line out first, or use another name"
            )
        old = path.read_text(encoding="utf-8").rstrip("\n") + "\n"
    write_text(path, f"{old}{line}\n")
    return key
