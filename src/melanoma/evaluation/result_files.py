"""What a model card takes from the folders that evaluations, stress tests and checks of explanations leave."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from melanoma.errors import ConfigError
from melanoma.evaluation.comparison import Comparison
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plain_words import Origin

FORMAT_VERSION: Final = 1  # of all three files


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`evaluation.json`: reports of one bundle; `looks`, `origin` and `comparison` are about the last one."""

    reports: list[EvaluationReport]
    looks: LookCount | None
    origin: Origin | None
    comparison: Comparison | None

    @classmethod
    def load(cls, folder: Path, digest: str) -> Self:
        """Read the file of a folder, made with the bundle of that digest. Raises ConfigError."""
        path, values = _read(folder, "evaluation.json", "melanoma evaluate", "evaluations")
        try:
            reports = [EvaluationReport.from_dict(entry) for entry in values["evaluations"]]
            looks, origin, comparison = (values.get(key) for key in ("test_looks", "origin", "comparison"))
            read = cls(
                reports,
                LookCount(**looks) if looks else None,
                Origin(**origin) if origin else None,
                Comparison.from_dict(comparison) if comparison else None,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _explain(path, "melanoma evaluate", error) from error
        for report in reports:
            _check(path, report.bundle_digest, digest)
        return read


@dataclass(frozen=True, slots=True)
class Change:
    """What one change of the photograph does: shares of melanomas `lost` and of other images `alarmed`."""

    title: str
    strength: str
    lost: Estimate | None
    alarmed: Estimate | None


@dataclass(frozen=True, slots=True)
class Stressed:
    """`stress.json`. `hidden`: AUROC of the photographs as they are and with the lesion hidden, None without."""

    title: str
    n: dict[str, int]
    changes: list[Change]
    hidden: tuple[Estimate, Estimate] | None

    @classmethod
    def load(cls, folder: Path, digest: str) -> Self:
        """Read the file of a folder, made with the bundle of that digest. Raises ConfigError."""
        path, values = _read(folder, "stress.json", "melanoma stress", "effects")
        try:
            effects = {effect["change"]: effect for effect in values["effects"]}
            titles = values["changes"]
            read = cls(
                str(values["title"]),
                dict(values["n"]),
                [_read_change(effect, titles[name]) for name, effect in effects.items() if effect["classes"]],
                _read_hidden(effects.get("lesion_hidden")),
            )
            made_with = str(values["bundle_digest"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _explain(path, "melanoma stress", error) from error
        _check(path, made_with, digest)
        return read


@dataclass(frozen=True, slots=True)
class Finding:
    """One question about the heat maps, the answer, and the figures behind it in words."""

    question: str
    answer: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Explained:
    """`explanations.json`: what was found about the heat maps on `n` images."""

    name: str
    n: int
    findings: list[Finding]

    @classmethod
    def load(cls, folder: Path, digest: str) -> Self:
        """Read the file of a folder, made with the bundle of that digest. Raises ConfigError."""
        command = "melanoma check-explanations"
        path, values = _read(folder, "explanations.json", command, "findings")
        try:
            findings = [
                Finding(*(str(entry[key]) for key in ("question", "answer", "sentence")))
                for entry in values["findings"]
            ]
            read = cls(str(values["name"]), int(values["n"]), findings)
            made_with = str(values["bundle_digest"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _explain(path, command, error) from error
        _check(path, made_with, digest)
        return read


def _read(folder: Path, name: str, command: str, key: str) -> tuple[Path, dict[str, Any]]:
    """The file of that name and what it holds, if it is of the kind that has `key`."""
    path = folder / name
    wanted = f"give the folder that `{command}` wrote"
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; {wanted}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}; make it again with `{command}`") from error
    if not isinstance(values, dict) or not isinstance(values.get(key), list):
        raise ConfigError(f"{path} is of another kind, it has no list of {key}; {wanted}")
    version = values.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ConfigError(f"{path} has format {version}, newer than this version of melanoma; update it")
    return path, values


def _explain(path: Path, command: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{path} is not as `{command}` writes it ({type(error).__name__}: {error}); make it again"
    )


def _check(path: Path, made_with: str, digest: str) -> None:
    if made_with != digest:
        raise ConfigError(
            f"{path} is of another model ({made_with[:12]}, the bundle is {digest[:12]}); give results of this bundle,"
            " or the other bundle with --bundle"
        )


def _read_change(effect: dict[str, Any], title: dict[str, str]) -> Change:
    lost, alarmed = _read_harms(effect["classes"])
    return Change(str(title["title"]), str(title["strength"]), lost, alarmed)


def _read_harms(classes: dict[str, Any]) -> Iterator[Estimate | None]:
    for name, harm in (("melanoma", "to_no_sign"), ("other", "to_refer")):
        found = classes.get(name)
        yield Estimate.from_dict(found["figures"][harm]["changed"]) if found else None


def _read_hidden(effect: dict[str, Any] | None) -> tuple[Estimate, Estimate] | None:
    if effect is None:
        return None
    before, after = (Estimate.from_dict(effect["auroc"][moment]) for moment in ("before", "after"))
    return None if after.value is None else (before, after)
