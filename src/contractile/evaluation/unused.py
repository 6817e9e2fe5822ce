"""Options that change nothing in a set of images, or are missing: nobody is left to believe that they did."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from contractile.evaluation.measures import Case, EvaluateConfig
from contractile.evaluation.predictions import Reader
from contractile.metrics import METRICS

OF_GROUP = {"border": "ctc", "pixel_size": "surface", "tolerance": "surface"}


@dataclass
class Unused:
    """Looks at what is measured of a set; says at the end which options did nothing, and which are missing."""

    config: EvaluateConfig
    reader: Reader
    _groups: set[str] = field(default_factory=set)
    _maps: bool = False
    _by_channel: bool = False
    _classes: bool = False
    _sized: set[bool] = field(default_factory=set)  # whether pixel sizes are known, where distances are measured

    def look(self, case: Case, measured: Collection[str]) -> None:
        """Take one image into account, of which the scores with these names were measured."""
        groups = {METRICS[key].group for key in measured}
        self._groups |= groups
        self._classes = case.task.kind == "classes"
        if "surface" in groups:
            self._sized.add(case.pixel_size is not None)
        if case.prediction.probabilities is not None:
            self._maps = True
            alone = case.prediction.labels is None and not self._classes
            self._by_channel = self._by_channel or alone or "isbi" in groups

    def reasons(self) -> list[str]:
        """`OPTION changes nothing: WHY`, for each such option; also which one is missing."""
        config, found = self.config, []
        for name, group in OF_GROUP.items():
            if getattr(config, name) != EvaluateConfig.model_fields[name].default and group not in self._groups:
                ask = f'ask for them with --scores {group} (scores=["{group}"])'
                found.append(f"{name} changes nothing: it is for the {group} scores; {ask}")
        if config.white is not None and not self._by_channel:
            found.append(f"white changes nothing: {self._why_no_channel()}")
        if config.probabilities and not self._maps:
            found.append("probabilities changes nothing: all predictions are labels by their names, or shapes")
        if config.background and not self.reader.met_background:  # with 0, it says that there is none
            found.append(f"background changes nothing: no predicted label is {config.background}")
        if config.ignore_label is not None and not self.reader.met_ignored:
            found.append(f"ignore_label changes nothing: no pixel of the truth is {config.ignore_label}")
        if len(self._sized) > 1:
            cure = "give one size for all, --pixel-size 1,1 (pixel_size=(1, 1)) for pixels"
            found.append(f"distances are in micrometres for some images and in pixels for others; {cure}")
        return found

    def _why_no_channel(self) -> str:
        if not self._maps:
            return "all predictions are labels"
        if self._classes:
            return "each pixel has its most probable class, since the truth holds classes"
        return "what is scored are the labels that lie beside the probabilities"
