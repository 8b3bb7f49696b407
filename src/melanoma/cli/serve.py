"""`melanoma serve`: the API and the page."""

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options, predictors
from melanoma.cli.progress import say
from melanoma.errors import ConfigError
from melanoma.processes import count_cores

MIB = 2**20


def serve(
    bundle: options.BundleOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of melanomas where you work; re-bases the probabilities.")
    ] = None,
    no_domain_check: Annotated[
        bool, typer.Option("--no-domain-check", help="Judge images that do not look dermoscopic, too.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Images judged at once; default: one a core.")
    ] = None,
    micro_batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Images that go through the network together when enough wait, whoever sent them.",
        ),
    ] = 1,
    max_waiting: Annotated[int, typer.Option(min=1, help="Images accepted and not yet judged.")] = 64,
    max_files: Annotated[int, typer.Option(min=1, help="Images a request.")] = 16,
    max_body: Annotated[int, typer.Option(min=1, help="Size of a request, MiB.")] = 32,
    max_pixels: Annotated[int, typer.Option(min=1024, help="Pixels an image.")] = 25_000_000,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a request to come in, and again to be answered.")
    ] = 30.0,
    keys: Annotated[
        Path | None, typer.Option(help="File of API keys, hashed; without it nobody is asked for one.")
    ] = None,
    add_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Add a key for NAME to --keys, print it this once, and end."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web origin whose pages may call the API, such as https://a.example."),
    ] = None,
    watch: Annotated[
        float, typer.Option(min=0, help="Seconds between looks at a models:/ address; 0: only at SIGHUP.")
    ] = 300.0,
) -> None:
    """Serve web page and API until Ctrl-C or SIGTERM; SIGHUP loads the bundle again. Logs go to standard output."""
    from melanoma.serving import bundle_source
    from melanoma.serving import keys as api_keys

    if add_key is not None:
        typer.echo(api_keys.add(_need(keys), add_key))
        return
    from melanoma.inference.predictor import Predictor, load_predictor
    from melanoma.serving import limits, server
    from melanoma.serving.app import create_app

    def load() -> Predictor:
        folder = bundle_source.find_folder(bundle, predictors.MODELS.expanduser())
        checked = not no_domain_check
        return load_predictor(
            folder,
            prevalence=prevalence,
            domain_check=checked,
            max_pixels=max_pixels,
            micro_batch=micro_batch,
        )

    bounds = limits.Limits(
        max_body=max_body * MIB,
        max_memory=max(8 * max_body * MIB, limits.Limits().max_memory),
        max_files=max_files,
        max_waiting=max_waiting,
        max_pixels=max_pixels,
        read_seconds=timeout,
        answer_seconds=timeout,
    )
    known = api_keys.load(keys) if keys is not None else None
    threads, origins = workers or count_cores(), allow_origin or ()
    for origin in origins:
        if not re.fullmatch(r"\*|https?://[^/?#\s]+", origin):
            raise ConfigError(
                f"--allow-origin {origin}: give what browsers send, such as https://clinic.example"
            )
    app = create_app(
        load(),
        load=load,
        workers=threads,
        micro_batch=micro_batch,
        limits=bounds,
        keys=known,
        origins=origins,
    )
    listener = server.listen(host, port)
    _announce(listener, known is not None)
    server.run(app, listener, watch if bundle_source.is_registered(bundle) else 0.0)


def _need(keys: Path | None) -> Path:
    if keys is None:
        raise ConfigError("say with --keys which file the key goes into")
    return keys


def _announce(listener: socket.socket, asks_for_keys: bool) -> None:
    """Where it listens, and who can reach it."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"serving on http://{shown}:{port}, a page for people there, the API at /docs")
    if ipaddress.ip_address(host).is_loopback:
        say("only programs on this machine can reach it; --host 0.0.0.0 lets others in")
    elif asks_for_keys:
        say("other machines can reach it, with a key; what they send is not encrypted unless a proxy does it")
    else:
        say("everybody who can reach this machine can use it; --keys FILE asks for a key")
