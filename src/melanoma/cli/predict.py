"""`melanoma predict`: judge images. Parsed by argparse: see `main`."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from melanoma.cli import gathering, predictors, rows
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ImageError
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Predictor
from melanoma.inference.scoring import score_files
from melanoma.inference.sources import ImageFile, find_images

HELP = "Judge dermoscopic images: probability of melanoma, and whether to refer."


def run(arguments: Sequence[str]) -> None:
    """Judge what the command line names. Raises ConfigError, ImageError, BundleError and OutputError."""
    asked = create_parser().parse_args(arguments)
    if asked.cluster is not None:
        from melanoma.cli import predict_on_cluster

        _summarise(*predict_on_cluster.run(asked), asked.strict)
        return
    if asked.column is not None:
        raise ConfigError("--column is about tables, which --cluster reads; add --cluster auto")
    asked.output = None if asked.output is None else Path(asked.output)
    asked.format = rows.choose_format(asked.format, asked.output)
    rows.check(asked.format, asked.output)
    files = list(find_images(asked.source))
    _refuse_inputs(files, asked.output, asked.explain)
    predictor = predictors.open_predictor(
        asked.bundle, prevalence=asked.prevalence, domain_check=not asked.no_domain_check
    )
    if asked.output is None or str(asked.output) == "-" or not gathering.is_plain(asked.output):
        counts: Counter[str] = Counter()
        judged = _judge(predictor, files, range(len(files)), asked.explain)
        rows.write(_count(judged, counts), asked.format, asked.output)
    else:
        counts = _judge_to_file(predictor, files, asked)
    _summarise(counts, len(files), asked.strict)


def create_parser() -> argparse.ArgumentParser:
    """Arguments and options of the command."""
    parser = _Parser(prog="melanoma predict", description=HELP, allow_abbrev=False)
    add = parser.add_argument
    add("source", metavar="SOURCE", nargs="+", help="Image files or folders.")
    add("--bundle", help="Bundle folder or models:/name@alias; default: the shipped one.")
    add(
        "--format",
        choices=rows.FORMATS,
        help="How to write the results (default: as the name of --output ends, else table).",
    )
    add(
        "-o",
        "--output",
        help="File in place of standard output; a command that was stopped goes on there.",
    )
    add("--explain", type=Path, metavar="DIR", help="Folder for overlays of where the network looked.")
    add(
        "--prevalence",
        type=float,
        metavar="P",
        help="Share of melanomas where you work; re-bases the probabilities.",
    )
    add("--no-domain-check", action="store_true", help="Judge images that do not look dermoscopic, too.")
    add("--strict", action="store_true", help="End with code 2 if any image cannot be read.")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="Judge on a Ray cluster: auto for this machine's cores, or HOST:PORT. Sources may then be lists (.txt), "
        "tables (.parquet) and addresses such as s3:// too; -o is a folder of Parquet parts.",
    )
    add("--column", metavar="NAME", help="Column of the tables with the images: bytes, paths or addresses.")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as everywhere."""
        raise ConfigError(f"{message}; see melanoma predict --help")


def _judge(
    predictor: Predictor, files: Sequence[ImageFile], places: Sequence[int], explain: Path | None
) -> Iterator[Prediction]:
    """A row for each of these places in `files`, in order, with progress; overlays land in `explain`."""
    overlays = None
    if explain is not None:
        names = list(rows.name_overlays(files))
        overlays = [explain / f"{names[place]}.png" for place in places]
    chosen = [files[place] for place in places]
    with show_progress("judging images") as update:
        judged = score_files(predictor, chosen, overlays=overlays, save=rows.write_overlay)
        for done, row in enumerate(judged, start=1):
            update(done, len(places))
            yield row


def _judge_to_file(predictor: Predictor, files: list[ImageFile], asked: argparse.Namespace) -> Counter[str]:
    """Judge the images that have no row in the output yet, and give it its form when all have one."""
    output = asked.output.resolve()  # a link stays, what it points at is replaced
    settings = {
        "bundle": predictor.digest,
        "prevalence": predictor.prevalence,
        "domain_check": predictor.checks_domain,
        "explain": None if asked.explain is None else str(asked.explain.resolve()),
    }
    counts: Counter[str] = Counter()
    with gathering.gather(output, settings) as gathered:
        places = gathered.leave_out_done(files)
        if len(places) < len(files):
            say(f"going on in {gathered.path}: {len(files) - len(places):,} of {len(files):,} are judged")
        try:
            for row in _judge(predictor, files, places, asked.explain):
                gathered.add(row)
        except KeyboardInterrupt:
            say(f"the same command goes on where this one stopped; its rows are in {gathered.path}")
            raise
        rows.write(_count(gathered.pick(files), counts), asked.format, asked.output)
        gathered.done = True
    return counts


def _refuse_inputs(files: list[ImageFile], output: Path | None, explain: Path | None) -> None:
    """Raise ConfigError when the results or an overlay would take the place of an image."""
    inputs = (
        {Path(file.path).resolve() for file in files} if output is not None or explain is not None else set()
    )
    if output is not None and not inputs.isdisjoint((output.resolve(), gathering.part_of(output.resolve()))):
        raise ConfigError(f"{output} is one of the images; give another --output")
    if explain is not None:
        for name in rows.name_overlays(files):
            if (explain / f"{name}.png").resolve() in inputs:
                raise ConfigError(
                    f"{explain / name}.png is one of the images; give another folder to --explain"
                )


def _count(predictions: Iterable[Prediction], counts: Counter[str]) -> Iterator[Prediction]:
    for prediction in predictions:
        counts["error" if prediction.error else str(prediction.decision)] += 1
        yield prediction


def _summarise(counts: Counter[str], total: int, strict: bool) -> None:
    broken, refused = counts["error"], counts["cannot_assess"]
    if total > 1:
        judged = f"{counts['refer']} refer, {counts['no_sign']} no sign"
        unlike = f", {refused} not dermoscopic" if refused else ""
        say(f"{total} images: {judged}{unlike}, {broken} could not be read")
    if broken and (strict or broken == total):
        raise ImageError(
            f"{broken} of {total} images could not be read; the results name each with its reason"
        )
    if broken + refused == total:
        raise ImageError(
            f"{refused} of {total} images do not look dermoscopic; the results name each, "
            "and --no-domain-check judges them too"
        )
