"""What lies beside downloaded ISIC images: metadata, attribution, licences."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from melanoma.data.download.folder import read_rows, write_rows
from melanoma.files import write_text

COLUMNS = (
    "isic_id",
    "attribution",
    "copyright_license",
    "age_approx",
    "sex",
    "anatom_site_general",
    "lesion_id",
    "patient_id",
    *(f"diagnosis_{level}" for level in range(1, 6)),
)
_LINKS = {
    "CC-0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
}
_NOT_STATED = "not stated"


def write(folder: Path, title: str, found: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Write `metadata.csv`, `attribution.csv` and `LICENCES.md`; the number of images under each licence.

    `found` maps isic_id to metadata; rows of an earlier call stay as long as their image is there. Writes
    nothing when there is no image at all. Raises OutputError.
    """
    there = {path.stem for path in (folder / "images").glob("*")}
    earlier = {row.get("isic_id", ""): row for row in read_rows(folder / "metadata.csv")}
    rows: dict[str, Mapping[str, str]] = {name: row for name, row in earlier.items() if name in there}
    rows |= found
    if not rows:
        return {}
    ordered = [rows[name] for name in sorted(rows)]
    more = sorted({name for row in ordered for name in row if name} - set(COLUMNS))
    write_rows(folder / "metadata.csv", (*COLUMNS, *more), ordered)
    write_rows(
        folder / "attribution.csv",
        ("isic_id", "licence", "attribution"),
        ({**row, "licence": row.get("copyright_license", "")} for row in ordered),
    )
    terms = _count(ordered)
    write_text(folder / "LICENCES.md", _render(title, terms))
    return _licences(terms)


def _count(rows: Iterable[Mapping[str, str]]) -> Counter[tuple[str, str]]:
    """Images by licence and attribution."""
    return Counter(
        (row.get("copyright_license") or _NOT_STATED, row.get("attribution") or _NOT_STATED) for row in rows
    )


def _licences(terms: Mapping[tuple[str, str], int]) -> dict[str, int]:
    licences: Counter[str] = Counter()
    for (licence, _), count in terms.items():
        licences[licence] += count
    return dict(licences.most_common())


def _render(title: str, terms: Counter[tuple[str, str]]) -> str:
    lines = [
        f"# {title}",
        "",
        "As the ISIC Archive states them; `attribution.csv` has them image by image. Whoever passes images on",
        "names their source, and CC-BY-NC images are not for commercial use.",
        "",
        "| images | licence | attribution |",
        "|---|---|---|",
    ]
    for (licence, attribution), count in sorted(terms.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"| {count:,} | {_cell(licence)} | {_cell(attribution)} |")
    links = [f"- {name}: {_LINKS[name]}" for name in sorted(_licences(terms)) if name in _LINKS]
    return "\n".join([*lines, *([""] if links else []), *links]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
