"""`contractile predict`: results of files, with their progress and what is expected of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from contractile.cli.display import Bar, describe_prediction, visible
from contractile.cli.options import AllowMissing, Axes, Device, MaxPixels, Memory, Overwrite
from contractile.cli.words import (
    choose,
    choose_one,
    configure,
    connected,
    diameter_of,
    expand,
    given,
    leave_out_others,
    refuse_image,
    split_models,
    tidy,
)


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL...",
            help="model.safetensors, a run folder, or a pretrained model by name: nuclei; of several models, the mean",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="folders, globs, files or stacks", callback=tidy)
    ],
    out: Annotated[Path, typer.Option(help="folder for the results; made if it is not there", callback=expand)],
    save: Annotated[
        str, typer.Option(help="any of labels,probabilities,overlay,objects,geojson,coco,rois,ctc")
    ] = "labels",
    form: Annotated[
        str, typer.Option("--format", help="of labels and probabilities: tiff, ome-zarr or ome-zarr-0.4")
    ] = "tiff",
    table: Annotated[str, typer.Option(help="of objects: csv, or parquet")] = "csv",
    report: Annotated[
        bool, typer.Option("--report", help="write predictions.html, too: the least certain images first")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on where the same prediction was interrupted, skip what is finished")
    ] = False,
    tta: Annotated[
        bool, typer.Option("--tta", help="average over mirrored or turned copies (5 to 8 x slower)")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    tile: Annotated[int | None, typer.Option(help="largest side of a tile, in pixels [fits memory]")] = None,
    diameter: Annotated[str | None, typer.Option(help="diameter of the objects in pixels, or estimate")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask workers do the blocks: local, or the address or file of a scheduler")
    ] = None,
    memory: Memory = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    device: Device = "auto",
) -> None:
    """Segment images of any size. Writes NAME_labels.tif for each file NAME.

    With --format ome-zarr, --out may be the image itself, an OME-Zarr: its labels go inside.
    """
    from contractile.engine import EngineConfig
    from contractile.errors import NotFinished
    from contractile.model import combine, load
    from contractile.prediction import Predictor, Written, predict_files
    from contractile.prediction.outputs import FORMS, PRODUCTS
    from contractile.prediction.tables import TABLES
    from contractile.storage import check_replaceable

    refuse_image(model, "predict")
    products = choose(save, PRODUCTS, "--save")
    products = [*products, *(["overlay"] if report and "overlay" not in products else [])]
    chosen = configure(EngineConfig, device=device, backend=engine, precision=precision)
    models, images = split_models(model, images)
    predictor = Predictor(combine(list(map(load, models))), engine=chosen, tile=tile, diameter=diameter_of(diameter))
    images = leave_out_others(images)
    more: dict[str, Any] = given(axes=axes, overwrite=overwrite, resume=resume)  # without axes the card decides
    more |= {"form": choose_one(form, FORMS, "--format"), "table": choose_one(table, TABLES, "--table")}
    page = (out.parent if out.suffix == ".zarr" else out) / "predictions.html"
    if report:
        check_replaceable([page], overwrite=overwrite)
    found: list[Written] = []
    more |= {"skipped": found.append}  # a page shows what an earlier call finished, too
    failed: NotFinished | None = None
    with connected(scheduler) as work, Bar("tiles") as bar:
        more |= {"progress": bar.show, "work": work}
        try:
            for written in predict_files(predictor, images, out=out, products=products, tta=tta, **more):
                found.append(written)
                for line in describe_prediction(written):
                    bar.announce(line)
        except NotFinished as error:  # of some files; the page shows the others
            failed = error
    if report and found:
        from contractile.report import write_predictions

        write_predictions(found, page, model=", ".join(map(str, models)), **given(overwrite=overwrite))
        typer.echo(visible(f"report  {page}"))
    if failed is not None:
        raise failed
