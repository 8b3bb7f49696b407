"""Every exception that this package raises on purpose.

MelanomaError
├── UserError                the user can mend it: one line on standard error, exit code 2
│   ├── ConfigError          a recipe or an option that makes no sense
│   ├── ImageError           bytes that are no image this package judges
│   ├── ManifestError        a data folder or CSV that cannot be read as labelled images
│   │   └── UnlabelledError  images, but nothing that says what they show
│   ├── SplitError           a split that cannot be made or does not fit its manifest
│   ├── BundleError          a bundle that is damaged, foreign or too new
│   ├── CalibrationError     too little or one-sided data to calibrate on
│   ├── DownloadError        something that cannot be fetched
│   ├── MissingExtraError    an optional part of the package is not installed
│   ├── RunError             a run folder that is in use, or cannot be resumed
│   ├── OutputError          a result cannot be written
│   ├── StorageError         files elsewhere that cannot be read or written
│   ├── ClusterError         a cluster that does not answer or does not fit
│   └── RefusalError         a request that a server refuses
├── TrackingError            MLflow could not be reached; training goes on without it
└── WorkerError              a process of ours was killed
"""


class MelanomaError(Exception):
    """Root of the tree in this module's docstring."""


class UserError(MelanomaError):
    """Something the user can mend; the message is one line that says what to do."""


class ConfigError(UserError):
    """A recipe or an option that makes no sense."""


class ImageError(UserError):
    """Bytes that are no image this package judges."""


class ManifestError(UserError):
    """A data folder or CSV that cannot be read as labelled images."""


class UnlabelledError(ManifestError):
    """Images, but nothing that says what they show."""


class SplitError(UserError):
    """A split that cannot be made or does not fit its manifest."""


class BundleError(UserError):
    """A bundle that is damaged, foreign or too new."""


class CalibrationError(UserError):
    """Too little or one-sided data to calibrate on."""


class DownloadError(UserError):
    """Something that cannot be fetched."""


class MissingExtraError(UserError):
    """An optional part of the package is not installed."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(f"{module} is not installed; install it with: pip install 'melanoma[{extra}]'")


class RunError(UserError):
    """A run folder that is in use, or cannot be resumed."""


class OutputError(UserError):
    """A result cannot be written."""


class StorageError(UserError):
    """Files elsewhere that cannot be read or written."""


class ClusterError(UserError):
    """A cluster that does not answer or does not fit."""


class RefusalError(UserError):
    """A request that a server refuses, with the HTTP status that says so.

    `retry_after`: seconds after which to ask again, None where that would not help. 0 for a `status`: the server
    could not be reached.
    """

    def __init__(self, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class TrackingError(MelanomaError):
    """MLflow could not be reached; training goes on without it."""


class WorkerError(MelanomaError):
    """A process of ours was killed."""
