"""The local page from Python: `view(images, labels)` serves it, and inside Jupyter shows it in a frame."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import AlreadyThere, ContractileError
from contractile.images import read, read_labels, write_image, write_labels
from contractile.images.arrays import as_array
from contractile.viewer.opening import SESSION, Opening, check_minutes, open_places
from contractile.viewer.serving import Serving, opened

HEIGHT = 720  # pixels of the frame in a notebook
GIVEN = "given"  # the folder for arrays, in that of the session


class Viewing:
    """A page that is served in the background; `close()` ends it. A notebook shows it in a frame."""

    def __init__(self, opening: Opening, *, minutes: float, framed: bool = False, **where: Any) -> None:
        self._stack = ExitStack()
        with ExitStack() as failing:
            shown = failing.enter_context(opened(opening, minutes=minutes))
            self._serving = Serving(shown, framed=framed, **where)
            self._stack = failing.pop_all()
        self.address = self._serving.address
        self._thread = threading.Thread(target=self._serving.run, name="page", daemon=True)
        self._thread.start()
        self._serving.wait()
        atexit.register(self.close)

    def close(self) -> None:
        """End the page, and close the session."""
        atexit.unregister(self.close)
        self._serving.stop()
        self._thread.join()
        self._stack.close()

    def _repr_html_(self) -> str:
        link, size = self.address.link, f'width="100%" height="{HEIGHT}"'
        return f'<iframe src="{link}" {size} style="border:0"></iframe>'

    def __repr__(self) -> str:
        return f"contractile at {self.address.again}"


def view(
    images: Any,
    labels: Any = None,
    *,
    out: str | Path | None = None,
    start: str | Path | None = None,
    task: str | None = None,
    classes: str | Sequence[str] | None = None,
    axes: str | None = None,
    minutes: float = 10.0,
    port: int = 0,
    browser: bool = True,
) -> Viewing | None:
    """See images, correct labels, and watch a network learn from them, in the browser.

    `images` are a folder, glob, file or list of those, the folder of a session, a run or a model; or arrays (Y, X),
    (C, Y, X), or a list of such arrays. `labels` are annotations to begin with, given in the same way (-1 is unknown).
    `out` is the folder of the session; in it, `labels/` are annotations that `train` takes. `start` is a model to learn
    on from, `minutes` how long to learn after each change. `axes` are the letters of the axes of image files, such as
    YXC, where the files do not say it right. `port` is a free one unless it is given.

    Inside Jupyter the page is shown in a frame and returned; elsewhere it is served until Ctrl-C. Raises
    ContractileError for arguments that cannot be used, InUse where the session is open elsewhere.
    """
    check_minutes(minutes)
    if _is_array(images):
        folder = Path(out or SESSION)
        images = _write_all(images, folder / GIVEN / "images")
        labels = _write_all(labels, folder / GIVEN / "labels", labels=True)
        out = folder
    opening = open_places(images, labels, out=out, start=start, task=task, classes=classes, axes=axes)
    if _in_notebook():
        return Viewing(opening, minutes=minutes, port=port, framed=True)
    with opened(opening, minutes=minutes) as shown:
        serving = Serving(shown, port=port)
        if browser:
            serving.open_browser()
        serving.run(lambda: print(serving.address.link, flush=True))
    return None


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and hasattr(found, "kernel")


def _is_array(value: Any) -> bool:
    one = value[0] if isinstance(value, list | tuple) and value else value
    return not isinstance(one, str | Path) and one is not None


def _write_all(arrays: Any, folder: Path, labels: bool = False) -> list[Path] | None:
    """Files of arrays, which a session can open again."""
    if arrays is None:
        return None
    several = isinstance(arrays, list | tuple) and not np.isscalar(arrays[0])
    values = [np.asarray(as_array(one)) for one in (arrays if several else [arrays])]
    return [_write(one, folder / f"image_{number:04d}.tif", labels) for number, one in enumerate(values, start=1)]


def _write(values: Any, file: Path, labels: bool) -> Path:
    """One file; the same values may be there already. Raises AlreadyThere for others."""
    wanted = values if labels else (values[None] if values.ndim == 2 else values)
    if wanted.ndim != (2 if labels else 3):
        shapes = "labels must be (Y, X)" if labels else "images must be (Y, X) or (C, Y, X)"
        raise ContractileError(f"{shapes}, got {values.shape}", "give one array for each image, in a list")
    if file.is_file():
        there = read_labels(file) if labels else read(file).pixels
        if there.shape != wanted.shape or not np.array_equal(there, wanted):
            raise AlreadyThere("the session was begun with other arrays", "name another folder with out=", where=file)
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    if labels:
        write_labels(file, wanted)
    else:
        write_image(file, wanted)
    return file
