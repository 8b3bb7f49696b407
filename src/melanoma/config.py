"""Recipes: everything a training run depends on besides its images, as YAML checked by pydantic."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from melanoma.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """Values never change, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Strict):
    """Which network, and what regularises it."""

    name: Literal[
        "original_cnn", "mobilenet_v2", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"
    ] = "original_cnn"
    dropout: Fraction = 0.0
    weights: str = Field(
        "none",
        description="what training begins with: `none` (random), `imagenet` (downloaded by Keras), a weights file of "
        "the network without its top, the folder of a finished run or of a bundle, or `shipped` (the bundle that comes "
        "with melanoma)",
    )
    frozen_until: str = Field(
        "",
        description="the last of the layers that keep their weights, by name, as in `block_4_add`; empty: none do",
    )


class InputConfig(Strict):
    """Geometry and value range of the network input; see `inference.preprocessing.Preprocessing`."""

    size: Annotated[int, Field(ge=32, le=1024)] = 150
    fit: Literal["squash", "crop"] = "squash"
    scale: Literal["zero_one", "minus_one_one"] = "zero_one"
    frame: Literal["keep", "crop"] = "keep"
    hair: Literal["keep", "remove"] = "keep"
    colour: Literal["keep", "shades_of_grey"] = "keep"


class AugmentationConfig(Strict):
    """Random changes to training images; every value is the largest change either way, 0 is off."""

    shift: Fraction = Field(0.0, description="share of the side")
    shear: Annotated[float, Field(ge=0, le=45)] = Field(0.0, description="degrees")
    zoom: Fraction = Field(0.0, description="share of the scale")
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="degrees")
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: Fraction = Field(0.0, description="share of the pixel values")
    contrast: Fraction = Field(0.0, description="share of the distance from the mean")
    saturation: Fraction = Field(0.0, description="share of the distance from grey")
    hue: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="degrees")
    quarter_turns: bool = Field(
        False, description="turns by 0, 90, 180 or 270 degrees, which resample nothing, on top of `rotation`"
    )
    aspect: Fraction = Field(
        0.0,
        description="share of the width that half of the images lose while the rest is stretched over it; 0.25 undoes "
        "the squashing of a 4:3 photograph to a square",
    )
    noise: Fraction = Field(0.0, description="deviation of Gaussian noise, share of the range of values")
    blur: Annotated[float, Field(ge=0, le=8)] = Field(0.0, description="deviation of a Gaussian blur, pixels")
    compression: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the images that go through JPEG of quality 30 to 90"
    )
    margin: Annotated[int, Field(ge=0, le=256)] = Field(
        0, description="pixels by which training images are decoded larger, to be cut out at random"
    )
    frame: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the images that get a round black frame of random size"
    )
    mixup: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the batches whose images are each laid over another one"
    )
    cutmix: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="share of the batches whose images each get a square of another one; with mixup at most 1",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.mixup + self.cutmix > 1:
            raise ValueError(
                f"mixup and cutmix are shares of the batches, and {self.mixup} and {self.cutmix} is above 1"
            )
        return self


class OptimizerConfig(Strict):
    """The optimiser and its learning-rate schedule."""

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    ema_momentum: Fraction = Field(0.0, description="moving average of the weights; 0 is off")


class TrainingConfig(Strict):
    """How long, in what batches, and which epoch's weights are kept."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 32
    label_smoothing: Fraction = 0.0
    draw: Literal["every", "balanced"] = Field(
        "every",
        description="every: each image once an epoch; balanced: both classes alike within each source, so that the "
        "source does not tell the class; sources, and diagnoses within a class, by the square root of their size",
    )
    draws: Annotated[int, Field(ge=0)] = Field(
        0, description="images an epoch when balanced; 0: as many as there are"
    )
    diagnosis_loss: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="weight of a second loss, for telling diagnoses apart where the label names one; 0 is off",
    )
    keep: Literal["last", "best"] = Field("last", description="best: the lowest validation loss")


class SplitsConfig(Strict):
    """Shares of each source; `test` is used only for a source that brings no test images of its own."""

    val: Share = 0.1
    calibration: Share = 0.1
    test: Fraction = 0.15


class ExportConfig(Strict):
    """The runtime network."""

    quantize: Literal["none", "float16", "int8_weights", "int8"] = "none"
    views: Literal[1, 4, 8] = Field(
        1,
        description="views of an image that the network averages; 4: mirrored and turned, 8: these transposed",
    )


class EvaluationConfig(Strict):
    """Operating point and intervals."""

    target_sensitivity: Annotated[float, Field(gt=0, le=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 1000


class Recipe(Strict):
    """One training run, apart from its images and its seed."""

    name: str
    model: ModelConfig = ModelConfig()
    input: InputConfig = InputConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    splits: SplitsConfig = SplitsConfig()
    export: ExportConfig = ExportConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        warmup, epochs = self.optimizer.warmup_epochs, self.training.epochs
        if self.optimizer.schedule == "cosine" and warmup >= epochs:
            raise ValueError(
                f"optimizer.warmup_epochs of {warmup:g} leaves nothing of training.epochs={epochs} for the cosine"
            )
        return self


def load_recipe(name_or_file: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by the name of a shipped one or by path, with `key.sub=value` overrides (YAML values).

    Raises ConfigError with the first thing that is wrong and where.
    """
    path = find_recipe(name_or_file)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read recipe {path}: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {path} must be a mapping of keys to values")
    for override in overrides:
        _apply(values, override)
    return parse_recipe(values, f"{path} with --set" if overrides else str(path))


def parse_recipe(values: dict[str, Any], origin: str) -> Recipe:
    """Check plain values against `Recipe`. Raises ConfigError naming `origin` and the key."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "there is no such key"
        raise ConfigError(": ".join(part for part in (f"recipe {origin}", key, message) if part)) from error


def dump_recipe(recipe: Recipe) -> str:
    """Every value, defaults included, as YAML that `load_recipe` reads back."""
    return yaml.safe_dump(recipe.model_dump(), sort_keys=False)


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe that comes with the package."""
    folders = [Path(str(importlib.resources.files("melanoma") / "recipes"))]
    folders.append(Path(__file__).resolve().parents[2] / "recipes")  # a checkout keeps them at its root
    return {
        path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))
    }


def find_recipe(name_or_file: str) -> Path:
    """The file behind a shipped recipe's name or a path. Raises ConfigError when there is none."""
    shipped = shipped_recipes()
    if name_or_file in shipped:
        return shipped[name_or_file]
    path = Path(name_or_file)
    if path.is_file():
        return path
    raise ConfigError(f"no recipe {name_or_file!r}; give a file or one of: {', '.join(sorted(shipped))}")


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `key.sub=value` in place. Raises ConfigError when it has no such form."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r} must have the form key=value, such as training.epochs=3")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {key}: {parent} is no section of the recipe")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
