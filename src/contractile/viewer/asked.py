"""What a page asks of the learner, and the long jobs that it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images.sources import natural
from contractile.viewer import actions
from contractile.viewer.canvas import box
from contractile.viewer.jobs import Training, check_choice
from contractile.viewer.remembered import common_axes
from contractile.viewer.session_file import given_names
from contractile.viewer.shown import Shown

LONGEST_TRAINING = 7 * 24 * 60  # minutes
SCORE = {"objects": "fit of held-out objects", "classes": "held-out pixels that are right"}
MEANING = {
    "objects": "Every fifth object is never learned from. The score is the mean overlap (IoU) of these objects with "
    "those that the model shows; the band is its 95 % interval.",
    "classes": "Every fifth stroke is never learned from. The score is the share of its pixels that get their class, "
    "averaged over the classes; the band is its 95 % interval.",
}
BUSY = ("waiting", "starting", "learning")


class Asked:
    """The wishes of a page that go beyond the annotation. Each returns the fields of the answer."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def models(self) -> dict[str, Any]:
        learning = self._shown.learning
        return {"models": [] if learning is None else learning.models()}

    def scores(self) -> dict[str, Any]:
        learning = self._shown.learning
        rows = [] if learning is None else learning.scores()
        task = self._shown.session.task
        return {"scores": [with_score(row) for row in rows], "name": SCORE[task], "meaning": MEANING[task]}

    def suggestions(self, most: int) -> dict[str, Any]:
        learning = self._shown.learning
        return {"suggestions": [] if learning is None else learning.suggestions(most)}

    def look(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What is on the screen now is predicted first."""
        image = actions.whole(fields, "image")
        region = actions.region_of(fields, self._shown.check_image(image))
        if self._shown.learning is not None:
            self._shown.learning.look_at(image, region)
        return {"image": image, "region": box(region)}

    def learn(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Pause, resume, restart, longer, go back. The status of the learner."""
        learning = self._shown.need_learning()
        more: dict[str, Any] = {}
        if "minutes" in fields:
            more["minutes"] = actions.number(fields, "minutes", least=0, most=LONGEST_TRAINING)
        if "model" in fields:
            [more["model"]] = actions.words_of({"model": [fields["model"]]}, "model")
        [do] = actions.words_of({"do": [fields.get("do")]}, "do")
        learning.command(do, **more)
        return learning.status()

    def export(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Predict the files of images with the newest network, as `contractile predict` does."""
        from contractile.prediction.outputs import PRODUCTS

        shown = self._shown
        save = actions.words_of(fields, "save")
        check_choice("save", save, list(PRODUCTS))
        chosen = fields.get("images", "all")
        everything = range(len(shown.sources))
        numbers = everything if chosen == "all" else [actions.whole({"images": one}, "images") for one in _some(chosen)]
        for number in numbers:
            shown.check_image(number)
        model = (None if shown.learning is None else shown.learning.model()) or shown.model
        if model is None:
            raise ContractileError("there is no network yet that could predict", "paint an object and some background")
        out, total = shown.session.folder / "predicted", len({shown.sources[number].files for number in numbers})
        return {"job": shown.jobs.export(model=model, images=self._files(numbers), total=total, out=out, save=save)}

    def train(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Train a run on all that is annotated, with its report, as `contractile train` does; the learner pauses."""
        shown = self._shown
        minutes = actions.number(fields, "minutes", least=0.1, most=LONGEST_TRAINING)
        shown.session.flush()
        annotated = [image for image in range(len(shown.sources)) if shown.session.annotated(image)]
        if not annotated:
            raise ContractileError("nothing is annotated yet", "paint an object and some background")
        learning, session = shown.learning, shown.session
        pausing = learning is not None and learning.status()["state"] in BUSY

        def after() -> None:
            if pausing and learning is not None:
                learning.command("resume")

        training = Training(
            images=sorted(self._files(range(len(shown.sources))), key=natural),  # all: their names tell them apart
            labels=session.folder / "labels",
            out=_next(session.folder),
            minutes=minutes,
            task=session.task,
            axes=common_axes(shown.sources),
            classes=[(one.value, one.name) for one in session.classes] if given_names(session.classes) else [],
        )
        job = shown.jobs.train(training, after=after)
        if pausing and learning is not None:
            learning.command("pause")
        return {"job": job}

    def _files(self, numbers: Any) -> list[Path]:
        """The files of images, each once."""
        return list(dict.fromkeys(file for number in numbers for file in self._shown.sources[number].files))


def with_score(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of scores under the names that the page knows."""
    names = ("seconds", "steps", "objects", "low", "high", "model")
    return {name: row.get(name) for name in names} | {"score": row.get("score", row.get("value"))}


def _some(value: Any) -> list[Any]:
    if isinstance(value, list) and 0 < len(value) <= actions.MOST_POINTS:
        return value
    raise ContractileError('images must be "all" or a list of numbers of images', actions.RESEND)


def _next(folder: Path) -> Path:
    """The folder of the next run: no run is ever replaced."""
    taken = {path.name for path in folder.glob("run*")}
    return folder / next(name for name in ("run", *(f"run{n}" for n in range(2, len(taken) + 3))) if name not in taken)
