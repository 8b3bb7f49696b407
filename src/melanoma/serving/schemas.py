"""What answers look like, for the OpenAPI description."""

from typing import Any

from pydantic import BaseModel, Field

from melanoma.inference.decision import Decision


class Row(BaseModel):
    """One image, with the fields of `melanoma predict --format json`."""

    source: str = Field(description="Always empty here.")
    path: str = Field(description="The file name that came with the image.")
    image_id: str = Field(description="That name without its suffix.")
    y_prob: float | None = Field(
        description="Calibrated probability of melanoma; null when the image could not be decoded, worth nothing "
        "where the decision is cannot_assess."
    )
    decision: Decision
    reason: str = Field(
        description="Why it cannot be assessed; else hints on the image's quality, or nothing."
    )
    error: str = Field(description="Set only when the image could not be decoded.")
    bundle_digest: str = Field(description="Names the bundle that judged.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What to do, in one line.")
    request_id: str
    predictions: list[Row] | None = Field(
        default=None, description="With 422, where images came but not one of them could be read."
    )


class Model(BaseModel):
    """The bundle that judges at this moment."""

    name: str
    bundle_digest: str = Field(description="sha256 that names the whole bundle.")
    format_version: int
    melanoma_version: str = Field(description="Of this server.")
    classes: list[str]
    operating_point: dict[str, float | int]
    calibration: dict[str, float | int]
    prevalence: float = Field(description="What the probabilities shown here are calibrated to.")
    preprocessing: dict[str, Any]
    domain_check: bool = Field(description="False: every image that can be read is judged.")
    files: dict[str, str] = Field(description="sha256 of each file of the bundle.")
    facts: dict[str, Any] = Field(
        description="Training data, versions, licence, use: the bundle's own words."
    )
    results: list[dict[str, Any]] = Field(
        description="How often it was right on images that did not make it, by set and source, with 95 % intervals; "
        "empty where that is not known."
    )
    limits: dict[str, float | int] = Field(description="What this server takes.")


class Health(BaseModel):
    """A word on how the server is."""

    status: str
