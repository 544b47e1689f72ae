"""The command of receiving: `listen`.

Belongs here: its arguments, its signals, what it prints. Does not belong here: the work (`tasks.listen`), the other
commands (`flows.cli`). Neither Prefect nor Dask is imported.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from oncurate.errors import UsageError

if TYPE_CHECKING:
    from tasks.listen import Count

AsJson = Annotated[bool, typer.Option("--json", help="Print the result for machines.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(listen)


def listen(
    into: Annotated[str, typer.Option(help="Folder or s3:// prefix of what arrives.", metavar="FOLDER")],
    allow: Annotated[
        list[str] | None, typer.Option(help="AE title of a sender; give one for each.", metavar="TITLE")
    ] = None,
    aet: Annotated[str, typer.Option(help="Our AE title.", metavar="TITLE")] = "ONCURATE",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 11112,
    bind: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 for this machine only.")] = "0.0.0.0",
    tls_cert: Annotated[str | None, typer.Option(help="Our TLS certificate.", metavar="PEM")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Its key, if in another file.", metavar="PEM")] = None,
    tls_ca: Annotated[
        str | None, typer.Option(help="Who vouches for senders, who then must show a certificate.", metavar="PEM")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Receive images that hospitals push (C-STORE, C-ECHO) until told to end (SIGTERM, Ctrl-C).

    What arrives is a source of `oncurate curate`. Its files hold personal data: the folder is readable by you alone.
    """
    from tasks import listen as receiving

    if tls_cert is None and (tls_key or tls_ca):
        raise UsageError("--tls-key and --tls-ca need --tls-cert")
    tls = receiving.Tls(tls_cert, tls_key, tls_ca) if tls_cert else None
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    door = receiving.door_of(aet, bind, port, allow or [], tls)

    def tell(count: Count, where: int) -> None:
        print(f"listening on port {where}: {_said(count)}", file=sys.stderr, flush=True)

    count = receiving.listen(door, into, ended, tell)
    print(json.dumps(asdict(count)) if as_json else f"ended: {_said(count)}")


def _said(count: Count) -> str:
    refused = ", ".join(f"{number} {why}" for why, number in count.refused.items()) or "none"
    return (
        f"{count.received} objects received ({count.present} were here before), {count.bytes / 1e6:.1f} MB; "
        f"refused: {refused}"
    )
