"""What happens, as JSON lines: no file names, no image content, no address beyond the route."""

import datetime
import json
import logging
import traceback
from typing import IO, Any

from melanoma.errors import UserError

LOGGER = logging.getLogger("melanoma.serving")


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Of an exception its type and where it was raised, for its words may name files."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info is not None and record.exc_info[1] is not None:
            line |= describe(record.exc_info[1])
        return json.dumps(line)


def configure(stream: IO[str]) -> None:
    """Send every log of this process to `stream`, as JSON lines."""
    logging.raiseExceptions = False  # a reader of the log who has left stops nothing
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    for name in (
        "pydicom",
        "python_multipart",
    ):  # they cite what came in, and the answer says what is wrong with it
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)


def write(event: str, **fields: Any) -> None:
    """One line."""
    LOGGER.info(event, extra={"fields": fields})


def fail(event: str, error: BaseException, **fields: Any) -> None:
    """One line on something that went wrong; a user's error in its own words, for whoever runs the server."""
    said = {"error": str(error)} if isinstance(error, UserError) else describe(error)
    LOGGER.error(event, extra={"fields": {**fields, **said}})


def describe(error: BaseException) -> dict[str, Any]:
    """An exception's type and its places in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "places": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
