"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

from contractile.cli.words import bound, limit, two_or_three

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Dims = Annotated[int, typer.Option(help="axes of an image: 2, or 3 for volumes", callback=two_or_three)]
Axes = Annotated[
    str | None,
    typer.Option(
        help="the axes of the image files, a letter for each, in order: X and Y; Z planes; C channels (S those of a "
        "colour picture); T times; Q other pages; e.g. YXC or TZCYX [what the files say]"
    ),
]
IgnoreLabel = Annotated[
    int | None, typer.Option(help="the number of the annotations that means not annotated, e.g. 65535 [negative ones]")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace also files that this command did not write, or that were changed")
]
Memory = Annotated[
    str | None,
    typer.Option(help="most that the whole command takes, such as 2GB [all that is free]", callback=limit),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        help="largest number of pixels of a picture, tile or chunk; larger ones are refused [2^28]", callback=bound
    ),
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="read 0 where a damaged file lacks pixels, and say so", callback=bound),
]
