"""Dermoscopy-like images whose class, lesion and artefacts are known, one at a time or as a collection.

Drawn, not photographed: good for tests, demonstrations and for planting a shortcut on purpose. No figure
from these images is medical evidence.
"""

import csv
import json
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.data.artefacts import ARTEFACTS, DEFAULT_RATES, ArtefactRates, Pixels, draw_artefacts
from melanoma.data.scene import SKIN_TONES, draw_lesion, draw_skin, draw_traits, expose
from melanoma.errors import ConfigError, ManifestError, OutputError

RENDERER: Final = 1  # raise it when the same seed draws something else
LABELS: Final = ("benign", "malignant")
README: Final = """\
These images are drawn by a program (melanoma.data.synthetic). They are not photographs, and nobody's skin.
They are good for trying the software and for testing it. No figure computed from them is medical evidence.

truth.csv       what was drawn in each image
collection.json the values that the folder was made with
"""
NOTICE = "Trained and judged on drawn images: these figures show that the software works and are no medical evidence."


@dataclass(frozen=True)
class Truth:
    """Everything that was drawn.

    `skin_tone`: index into `SKIN_TONES`, 0 the lightest; `ita`: its angle in degrees, before lighting.
    `asymmetry`, `border_irregularity`: 0 to 1. `colours`: names from `ABSORPTION`. `n_dots`: dark dots.
    `lesion_fraction`: share of the image's pixels in the mask.
    """

    y_true: int
    skin_tone: int
    ita: float
    asymmetry: float
    border_irregularity: float
    colours: tuple[str, ...]
    n_dots: int
    artefacts: tuple[str, ...]
    lesion_fraction: float

    @property
    def n_colours(self) -> int:
        """How many of dermoscopy's six colours the lesion has."""
        return len(self.colours)

    @property
    def blue_grey_veil(self) -> bool:
        """Whether a blue-grey veil lies over part of the lesion."""
        return "blue_grey" in self.colours


@dataclass(frozen=True)
class SyntheticImage:
    """`image` uint8 RGB (size, size, 3); `mask` bool (size, size), the lesion, artefacts over it or not."""

    image: Pixels
    mask: NDArray[np.bool_]
    truth: Truth


def render(
    y_true: int,
    rng: np.random.Generator,
    *,
    size: int = 192,
    artefacts: Collection[str] | None = None,
    difficulty: float = 0.5,
    skin_tone: int | None = None,
) -> SyntheticImage:
    """Draw one image. The class acts on asymmetry, border, colours and dots, and on nothing else.

    `y_true`: 1 melanoma, 0 not. `size`: side in pixels, 64 to 512. `artefacts`: names from `ARTEFACTS`;
    None draws them with `DEFAULT_RATES`. `difficulty`: 0 keeps the classes apart, 1 makes them the same.
    `skin_tone`: index into `SKIN_TONES`; None draws one. One state of `rng` gives one lesion on one skin,
    whatever the artefacts. Raises ConfigError for a value outside these.
    """
    _check(y_true, size, artefacts, difficulty, skin_tone)
    # A generator a part: asking for one artefact more must not move the lesion.
    seeds = rng.integers(0, 2**63, size=4 + len(ARTEFACTS))
    skin_rng, trait_rng, lesion_rng, rate_rng, *artefact_rngs = map(np.random.default_rng, seeds)
    tone = int(skin_rng.integers(len(SKIN_TONES)))  # drawn even when given: the rest of the skin stays
    tone = tone if skin_tone is None else skin_tone
    ita = float(skin_rng.uniform(*SKIN_TONES[tone]))
    traits = draw_traits(y_true, difficulty, trait_rng)
    scene, mask = draw_lesion(draw_skin(ita, size, skin_rng), traits, lesion_rng)
    image = expose(scene, skin_rng)
    names = draw_artefacts(y_true, rate_rng) if artefacts is None else artefacts
    for name, artefact_rng in zip(ARTEFACTS, artefact_rngs, strict=True):
        image = ARTEFACTS[name](image, artefact_rng) if name in names else image
    drawn = tuple(name for name in ARTEFACTS if name in names)
    truth = Truth(y_true, tone, ita, **asdict(traits), artefacts=drawn, lesion_fraction=float(mask.mean()))
    return SyntheticImage(image, mask, truth)


def _check(
    y_true: int, size: int, artefacts: Collection[str] | None, difficulty: float, skin_tone: int | None
) -> None:
    if y_true not in (0, 1):
        raise ConfigError(f"y_true must be 0 or 1, not {y_true}")
    if not 64 <= size <= 512:
        raise ConfigError(f"size must be 64 to 512 pixels, not {size}")
    if not 0 <= difficulty <= 1:
        raise ConfigError(f"difficulty must be 0 to 1, not {difficulty}")
    if skin_tone is not None and not 0 <= skin_tone < len(SKIN_TONES):
        raise ConfigError(f"skin_tone must be 0 to {len(SKIN_TONES) - 1}, not {skin_tone}")
    unknown = sorted(set(artefacts or ()) - set(ARTEFACTS))
    if unknown:
        raise ConfigError(f"no artefact {unknown[0]!r}; use {', '.join(ARTEFACTS)}")


@dataclass(frozen=True)
class _Settings:
    """The values that make a collection, as kept in its `collection.json`."""

    renderer: int
    n: int
    seed: int
    size: int
    prevalence: float
    test_share: float
    difficulty: float
    patients: bool
    rates: dict[str, list[float]]


@dataclass(frozen=True)
class _Row:
    """One image of a collection, before it is drawn; `index` counts from 1."""

    index: int
    y_true: int
    split: str
    patient_id: str
    skin_tone: int | None

    @property
    def path(self) -> str:
        """Relative to the collection's folder."""
        return f"{self.split}/{LABELS[self.y_true]}/synthetic_{self.index:05d}.jpg"


def write_collection(
    folder: Path,
    *,
    n: int,
    seed: int,
    size: int = 192,
    prevalence: float = 0.5,
    test_share: float = 0.2,
    difficulty: float = 0.5,
    rates: ArtefactRates = DEFAULT_RATES,
    patients: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `n` images as class folders with `truth.csv` and `README.txt`; returns the folder.

    `prevalence`: share of melanomas. `test_share`: share of each class under `test/`. `rates`: names left
    out are not drawn. `patients`: give about three images to each patient, all of one skin tone and on one
    side of the split. `progress` is told (done, n). An image depends on its number, its plan and `seed`, not
    on other images. The folder appears complete or not at all, and is reused when these values made it.
    Raises ConfigError for values that make no collection, ManifestError when the folder holds something
    else, OutputError when it cannot be written.
    """
    plain_rates = {name: [float(rate) for rate in pair] for name, pair in sorted(rates.items())}
    settings = _Settings(
        RENDERER, n, seed, size, prevalence, test_share, difficulty, patients, rates=plain_rates
    )
    rows = _plan(settings)
    try:
        if not _is_there(folder, settings):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as workplace:
                draft = Path(workplace) / folder.name
                _write(draft, rows, settings, progress)
                draft.replace(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    return folder


def is_drawn(folder: Path) -> bool:
    """Whether `write_collection` made the folder."""
    try:
        return "difficulty" in json.loads((folder / "collection.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _plan(settings: _Settings) -> list[_Row]:
    """Class, split and patient of every image. Raises ConfigError."""
    n, shares = settings.n, (settings.prevalence, settings.test_share)
    if settings.seed < 0 or not all(0 <= share <= 1 for share in shares):
        raise ConfigError("seed must not be negative; prevalence and test_share must be 0 to 1")
    _check(0, settings.size, None, settings.difficulty, None)
    rng = np.random.default_rng((0, settings.seed))  # images are numbered from 1
    draw_artefacts(0, rng, _rates(settings))  # refuses bad rates before anything is written
    y_true = rng.permutation(np.arange(n) < round(n * settings.prevalence)).astype(int)
    split = np.full(n, "train", dtype="<U5")
    for label in (0, 1):
        members = np.flatnonzero(y_true == label)
        split[members[: round(settings.test_share * len(members))]] = "test"
    if len(np.unique(y_true[split == "train"])) < 2:
        raise ConfigError(f"{n} images of these shares leave a class without training images; ask for more")
    n_patients = max(1, n // 3)
    owner = rng.integers(n_patients, size=n) + n_patients * (split == "test")
    tones = rng.integers(len(SKIN_TONES), size=2 * n_patients)
    return [
        _Row(
            index=i + 1,
            y_true=int(y_true[i]),
            split=str(split[i]),
            patient_id=f"patient_{owner[i]:05d}" if settings.patients else "",
            skin_tone=int(tones[owner[i]]) if settings.patients else None,
        )
        for i in range(n)
    ]


def _is_there(folder: Path, settings: _Settings) -> bool:
    """Whether the folder already holds this collection; an empty folder is removed."""
    if not folder.exists():
        return False
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()  # Windows cannot move a folder over an empty one
        return False
    try:
        known = json.loads((folder / "collection.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known != asdict(settings):
        raise ManifestError(f"{folder} exists and holds something else; give another folder or remove it")
    if sum(1 for _ in folder.rglob("synthetic_*.jpg")) != settings.n:
        raise ManifestError(f"{folder} has lost some of its images; remove it and run again")
    return True


def _write(
    folder: Path, rows: list[_Row], settings: _Settings, progress: Callable[[int, int], None] | None
) -> None:
    """Draw the images one by one into a new folder, then the files about them."""
    truths = []
    for row in rows:
        path = folder / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = _draw(row, settings)
        Image.fromarray(drawn.image).save(path, quality=90)
        truths.append(_truth_row(row, drawn.truth))
        if progress is not None:
            progress(len(truths), len(rows))
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(truths[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(truths)
    (folder / "README.txt").write_text(README, encoding="utf-8")
    (folder / "collection.json").write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")


def _draw(row: _Row, settings: _Settings) -> SyntheticImage:
    """One image of the collection, from the seed and its number."""
    rng = np.random.default_rng((row.index, settings.seed))
    names = draw_artefacts(row.y_true, rng, _rates(settings))
    return render(
        row.y_true,
        rng,
        size=settings.size,
        artefacts=names,
        difficulty=settings.difficulty,
        skin_tone=row.skin_tone,
    )


def _truth_row(row: _Row, truth: Truth) -> dict[str, str | int | float]:
    """One line of `truth.csv`, which also reads as a plain label table with `path` and `label`."""
    return {
        "path": row.path,
        "label": LABELS[row.y_true],
        "split": row.split,
        "patient_id": row.patient_id,
        "skin_tone": truth.skin_tone,
        "ita": round(truth.ita, 1),
        "asymmetry": round(truth.asymmetry, 4),
        "border_irregularity": round(truth.border_irregularity, 4),
        "n_colours": truth.n_colours,
        "colours": ";".join(truth.colours),
        "n_dots": truth.n_dots,
        "artefacts": ";".join(truth.artefacts),
        "lesion_fraction": round(truth.lesion_fraction, 5),
    }


def _rates(settings: _Settings) -> ArtefactRates:
    return {name: (benign, melanoma) for name, (benign, melanoma) in settings.rates.items()}
