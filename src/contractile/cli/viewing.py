"""`contractile view`: the local page, served until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contractile.cli.display import visible
from contractile.cli.options import AllowMissing, Axes, Device, MaxPixels
from contractile.cli.words import expand, tidy
from contractile.errors import ContractileError

if TYPE_CHECKING:
    from contractile.viewer.serving import Address

CONSENT = "--anyone-who-reaches-this-machine-may-knock"


def view(
    call: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="images, the folder of a session to go on with, or a run or model", callback=tidy
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Argument(
            metavar="LABELS",
            help="annotations to begin with; after a model: the images that it is shown",
            callback=tidy,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for what is annotated and learned [IMAGES_session]", callback=expand)
    ] = None,
    start: Annotated[str | None, typer.Option(help="a model to learn on from, such as nuclei [from nothing]")] = None,
    task: Annotated[str | None, typer.Option(help="objects or classes [objects, or that of the model]")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="names of classes; the first gets the value 0, the second 1, and so on; e.g. background,cell,nucleus"
        ),
    ] = None,
    axes: Axes = None,
    minutes: Annotated[float, typer.Option(help="how long to learn after the last change")] = 10.0,
    host: Annotated[
        str, typer.Option(help="address to listen at; others than this machine's own need consent")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen at [a free one]")] = 0,
    consent: Annotated[
        bool, typer.Option(CONSENT, help="let other machines reach the page, without encryption")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="print the address, and open nothing")] = False,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    device: Device = "auto",
) -> None:
    """See, correct, and watch it learn. Serves a page to the browser of this machine, until Ctrl-C."""
    if call.args:
        words = [word for word in (what, labels) if word] + call.args
        problem = f"view takes WHAT and LABELS, got {len(words)} words ({', '.join(words[:4])}"
        raise ContractileError(
            f"{problem}{', ...' if len(words) > 4 else ''})", "give the folder, or quote the pattern"
        )
    from contractile.viewer.opening import check_minutes, open_places
    from contractile.viewer.serving import Serving, check_place, opened

    check_minutes(minutes)
    check_place(host, port, consent)
    opening = open_places(what, labels, out=out, start=start, task=task, classes=classes, axes=axes)
    with opened(opening, minutes=minutes, device=device) as shown:
        serving = Serving(shown, host=host, port=port, consent=consent)
        if not no_browser:
            serving.open_browser()
        serving.run(lambda: _say_where(serving.address, opening.folder))
    typer.echo(visible(f"closed  all annotations are in {opening.folder / 'labels'}"))


def _say_where(address: Address, folder: Path) -> None:
    typer.echo(visible(f"page    {address.link}"))
    again = f"to open the page again in the same browser, use {address.again}"
    typer.echo(visible(f"again   the address above works once; {again}"))
    typer.echo(visible(f"session {folder}; Ctrl-C ends it"))
