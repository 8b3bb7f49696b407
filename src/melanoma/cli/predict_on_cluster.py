"""`melanoma predict --cluster`: archives that one machine would take too long for."""

import argparse
from collections import Counter

from melanoma.archive import blocks, scoring
from melanoma.archive.output import Output
from melanoma.cli import predictors
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError

WORTH_IT = 10_000  # images: below, a start costs more than it gains (benchmarks/cluster.py)


def run(asked: argparse.Namespace) -> tuple[Counter[str], int]:
    """Judge what the command line names; how many rows of each kind, and how many in all. Raises UserError."""
    if asked.format != "parquet" or asked.output is None:
        raise ConfigError("--cluster writes a folder of Parquet parts: add --format parquet -o FOLDER")
    if asked.explain is not None:
        raise ConfigError("--explain is not made on a cluster; leave it out, or leave out --cluster")
    from melanoma import cluster

    cluster.check_address(asked.cluster)
    archive = blocks.find(asked.source, asked.column)
    predictor = predictors.open_predictor(
        asked.bundle, prevalence=asked.prevalence, domain_check=not asked.no_domain_check
    )
    output = Output(str(asked.output))
    done = output.begin(scoring.describe(predictor, archive))
    left = [(number, block) for number, block in enumerate(archive.blocks) if number not in done]
    if len(left) < len(archive.blocks):
        n = archive.n - sum(block.n for _, block in left)
        say(f"going on in {asked.output}: {n:,} of {archive.n:,} are judged")
    if left:
        _judge(asked, left, scoring.pack(predictor, asked.prevalence, output), archive.n)
    counts = output.count([block.n for block in archive.blocks])
    output.finish(counts, archive.n)
    return counts, archive.n


def _judge(
    asked: argparse.Namespace, left: list[tuple[int, blocks.Block]], task: scoring.Task, total: int
) -> None:
    from melanoma import cluster

    if asked.cluster == cluster.HERE and total < WORTH_IT:
        say(
            f"for {total:,} images the same command without --cluster is faster: starting Ray takes about ten seconds"
        )
    try:
        with cluster.connect(asked.cluster), show_progress("judging images") as update:
            cluster.score(left, task, update)
    except KeyboardInterrupt:
        say(f"the same command goes on where this one stopped; its rows are in {asked.output}")
        raise
