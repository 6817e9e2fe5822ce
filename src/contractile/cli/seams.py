"""`contractile seams`: what tiles change in the map of a model, as a short table, a sentence and a picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contractile.cli.display import NARROWEST, Bar, visible
from contractile.cli.options import AllowMissing, Axes, Device, MaxPixels, Overwrite
from contractile.cli.words import configure, diameter_of, expand, refuse_image, tidy
from contractile.errors import ContractileError

if TYPE_CHECKING:
    from contractile.images import Source
    from contractile.prediction import Predictor
    from contractile.prediction.seams import Seams

SUFFIX = ".png"
FAULT = 1e-3  # float32 never rounds a probability by so much

logger = logging.getLogger(__name__)


def seams(
    call: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="model.safetensors, a run folder, or a pretrained model by name: nuclei"),
    ],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="one image; of a stack the first page", callback=tidy)],
    out: Annotated[
        Path | None, typer.Option(help="the picture, a PNG file [IMAGE_seams.png in this folder]", callback=expand)
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="largest side of a tile, in pixels [cuts each side in about three]")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    diameter: Annotated[str | None, typer.Option(help="diameter of the objects in pixels, or estimate")] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    device: Device = "auto",
) -> None:
    """Measure what tiles change.

    In the map of an image, with our tiles and with those of other tools; a picture shows where. At most 1024 x 1024
    pixels in the middle are measured, of volumes 32 x 128 x 128.
    """
    if call.args:
        words = [str(model), image, *call.args]
        problem = f"seams takes MODEL and one IMAGE, got {len(words)} words ({', '.join(words[:4])}"
        raise ContractileError(f"{problem}{', ...' if len(words) > 4 else ''})", "name one image")
    from contractile.engine import EngineConfig
    from contractile.images import say_rest
    from contractile.images.writing import check_file
    from contractile.model import load
    from contractile.prediction import Predictor
    from contractile.report.seams import draw_seams
    from contractile.storage import claimed

    refuse_image(model, "seams")
    chosen = configure(EngineConfig, device=device, backend=engine, precision=precision)
    predictor = Predictor(load(model), engine=chosen, tile=tile, diameter=diameter_of(diameter))
    source = _find(image, predictor, axes)
    picture = out or Path(f"{source.name}_seams{SUFFIX}")
    if picture.suffix.lower() != SUFFIX:
        raise ContractileError(
            f"--out must name a PNG file, got {picture}", f"write e.g. {picture.with_suffix(SUFFIX)}"
        )
    check_file(picture)
    with claimed([picture], by="seams", inputs=source.files, overwrite=overwrite) as claim:
        found = _measure(predictor, source)
        with claim.together():
            draw_seams(found, picture, title=f"{source.name}: what tiles change for the model {model}")
    say_rest(source.files)
    _print(found)
    typer.echo(visible(f"picture {picture}"))


def _find(image: str, predictor: Predictor, axes: str | None) -> Source:
    """The image; of several the first, which is said."""
    from contractile.images import describe, find

    found = find(image, dims=predictor.card.network.dims, axes=axes or predictor.card.axes)
    if len(found) > 1:
        logger.warning("%s holds %d images: %s is measured", image, len(found), describe(found[0]))
    return found[0]


def _measure(predictor: Predictor, source: Source) -> Seams:
    from contractile.images import describe
    from contractile.prediction.seams import measure_seams

    with _opened(source, predictor) as pixels, Bar("tiles") as bar:
        try:
            return measure_seams(predictor, pixels, progress=lambda done, total: bar.show("measuring", done, total))
        except ContractileError as error:
            about_image = error.problem.startswith(("image ", "pixels "))
            raise (error.at(describe(source)) if about_image and not error.where else error) from None


@contextmanager
def _opened(source: Source, predictor: Predictor) -> Iterator[Any]:
    """The image on disk; a grey picture that is stored as colour in memory, as one channel."""
    from contractile.images import describe, grey_of, open_image

    channels = predictor.card.network.channels
    with open_image(source, dims=predictor.card.network.dims) as image:
        if image.shape[0] == channels:
            yield image
            return
        grey = grey_of(image.pixels) if channels == 1 else None
        if grey is None:
            raise ContractileError(
                f"the image has {image.shape[0]} channel(s), but the model takes {channels}",
                "give an image like those that it was trained on; where the axes were misread, name them (--axes)",
                where=describe(source),
            )
        yield grey


def _print(seams: Seams) -> None:
    """What was measured, a row for each way of tiling, the margin, and what follows."""
    from rich.console import Console
    from rich.table import Column, Table

    from contractile.report.seams import say_difference, say_objects, say_pixels

    for line in describe_part(seams):
        typer.echo(line)
    table = Table(Column("tiles", no_wrap=True), "largest difference", "pixels changed", "objects changed")
    for tiling in (seams.whole, seams.moved, seams.off_grid, *seams.peers):
        changed = say_objects(tiling.objects, seams.objects)
        table.add_row(tiling.title, say_difference(tiling.largest), say_pixels(tiling.pixels), changed)
    Console(width=max(NARROWEST, Console().width), markup=False).print(table)
    for line in conclude(seams):
        typer.echo(line)


def describe_part(seams: Seams) -> Iterator[str]:
    """What was measured, and with which tiles."""
    from contractile.prediction.tilings import by

    size = seams.pixels.shape[1:]
    which = "all" if size == seams.shape else "the middle"
    of = "" if size == seams.shape else f" of {by(seams.shape)}"
    scaled = "" if seams.scale == 1 else f", enlarged {seams.scale:.2g} times for the model"
    yield f"{which} {by(size)}{of} pixels{scaled}, in {seams.precision}"
    yield f"tiles of {by(seams.tile)} pixels, moved by {by(seams.shift)}, or {by(seams.odd_shift)} off the grid"
    if seams.crossing is not None:
        yield f"{seams.crossing} of {seams.objects} objects lie across lines between tiles"


def conclude(seams: Seams) -> Iterator[str]:
    """The margin, and one sentence about our tiles beside those of others."""
    from contractile.report.seams import say_difference, say_objects, say_pixels, say_sides

    margins = seams.margins
    yield (
        f"margin: we drop {say_sides(margins.kept)} pixels; this network needs {say_sides(margins.needed)} on this "
        f"image, and {say_sides(margins.visible)} for differences under 1/256"
    )
    ours = max(seams.whole.largest, seams.moved.largest)
    rounding = f"{say_difference(ours)} in {seams.precision}"
    if seams.precision != "float32":
        rounding += f", {say_difference(seams.float32)} in float32"
    if seams.float32 > FAULT:
        yield f"our tiles show ({rounding}), which is more than rounding: please report this, with model and image"
        return
    least, most = (choose(seams.peers, key=lambda one: (one.objects or 0, one.largest)) for choose in (min, max))
    cost = f"changes {say_pixels(most.pixels)} of the pixels"
    if most.objects is not None:
        cost = f"changes {say_objects(most.objects, seams.objects)} objects"
    yield (
        f"our tiles leave no seam (rounding alone: {rounding}); of the other ways the best is off by up to "
        f"{say_difference(least.largest)} ({least.title}), the worst by {say_difference(most.largest)} and {cost} "
        f"({most.title})"
    )
