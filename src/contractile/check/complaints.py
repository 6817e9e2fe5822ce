"""What the data doctor can complain about: how bad it is, its name in words, and its cure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from contractile.images.planes import ARGMAX

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")

# errors that `check --fix` mends
MENDED = {"background", "grey", "mixed", "fractions", "colour", "one-hot", "large numbers", "mixed masks"}


class Complaint(NamedTuple):
    """`problem` holds {} where the detail of the first file goes."""

    level: Level
    problem: str
    cure: str


# Within a level, what comes first is worse: training shows only the first few.
COMPLAINTS: dict[str, Complaint] = {
    "size": Complaint("error", "image and labels differ in size: {}", "crop or resample one of them"),
    "channels": Complaint("error", "images have different numbers of channels: {}", "convert them to one kind"),
    "not finite": Complaint(
        "error",
        "{}: NaN or infinite",
        "replace them (by 0 or the median of their neighbours) and save again",
    ),
    "same": Complaint("error", "labels are the image itself, pixel by pixel{}", "give the annotations as labels"),
    "swapped": Complaint(
        "error",
        "labels look like a photograph ({} grey values) and the image looks like labels: the two are swapped",
        "give the images first, then the labels",
    ),
    "background": Complaint(
        "error",
        "no background 0; value {}",
        "check --fix DIR makes it 0; if it means not annotated, say so: --ignore-label of check and evaluate, "
        "targets.ignore_label in the recipe of train",
    ),
    "grey": Complaint(
        "error",
        "labels look like a picture of a mask ({} grey values at the edges, from JPEG or a smoothed outline)",
        "check --fix DIR cuts them halfway between the two main values; draw masks without smoothing",
    ),
    "mixed": Complaint(
        "error",
        "{} of the changes from one number to another pass through numbers in between: labels were smoothed or resized",
        "check --fix DIR gives these pixels the nearest full number; resize labels with nearest neighbour",
    ),
    "picture": Complaint(
        "error",
        "labels look like a photograph ({} grey values, hardly any area of one value)",
        "check that images and labels are not swapped; save object numbers, not a rendering of them",
    ),
    "fractions": Complaint(
        "error",
        "labels must be whole numbers, {} of the pixels are fractions",
        "check --fix DIR makes whole numbers of them; save integers",
    ),
    "no numbers": Complaint(
        "error",
        "labels must be whole numbers, {} of the pixels are fractions, as in a photograph or a map of probabilities",
        "save the numbers of the objects or classes as integers",
    ),
    "colour": Complaint(
        "error",
        "labels must have one channel, got a picture in {}",
        "check --fix DIR gives each colour a number and says which",
    ),
    "one-hot": Complaint(
        "error",
        "labels must be one number for each pixel, got {}",
        "check --fix DIR gives each pixel the number of its largest plane (argmax)",
    ),
    "planes": Complaint("error", "labels must be one number for each pixel, got {}", ARGMAX),
    "large numbers": Complaint("error", "labels must fit into 32 bits, got {}", "check --fix DIR numbers them anew"),
    "one value": Complaint(
        "error", "labels hold the single value {} in every file", "check that these are the annotations"
    ),
    "mixed masks": Complaint(
        "error",
        "masks are 0 and {} here, 0 and 1 in other files: two classes by their values",
        "check --fix DIR makes both 1",
    ),
    "void": Complaint(
        "warning",
        "value {}, far above all other numbers",
        "if it means not annotated, say so: --ignore-label of check and evaluate, targets.ignore_label in the "
        "recipe of train; else number it like the others",
    ),
    "duplicate labels": Complaint(
        "warning", "the same labels as {}, but another image", "check that each image has its own annotation"
    ),
    "exchanged": Complaint(
        "warning", "the labels fit another image better, the one of {}", "check the names, and how they are paired"
    ),
    "turned": Complaint(
        "warning", "the labels fit the image better {}", "turn them, or save them with the same program as the image"
    ),
    "shifted": Complaint("warning", "the labels fit the image better when moved by {}", "align them"),
    "no fit": Complaint(
        "warning",
        "the labels do not follow the image: outlines and brightness agree {} as well as in the other images",
        "look at both, one over the other",
    ),
    "empty": Complaint(
        "warning", "nothing is annotated (every label is {})", "leave the file out, unless the image is really empty"
    ),
    "inverted": Complaint(
        "warning",
        "{} of the image is one object with holes in it, up to all its sides: the values look exchanged",
        "exchange them if the holes are the objects",
    ),
    "one number": Complaint(
        "warning",
        "one number for all objects ({} piece(s)), while other files number each",
        "check --fix DIR gives each piece its own number",
    ),
    "outlines": Complaint(
        "warning", "objects are only outlines: {}", "check --fix DIR fills them, or draw whole objects"
    ),
    "contrast": Complaint(
        "warning", "what is labelled is {} here, unlike in the other images", "invert the grey values of this image"
    ),
    "constant": Complaint("warning", "every pixel of channel {} has one value", "leave the image out"),
    "far value": Complaint(
        "warning", "far beyond the other values: {}", "replace it by the median of its neighbours, or crop it away"
    ),
    "stripe": Complaint("warning", "{} hold one value and no signal", "crop them away, or leave the image out"),
    "saturated": Complaint(
        "warning", "{} of the pixels are at the camera's upper limit", "record with less light or a shorter exposure"
    ),
    "duplicate": Complaint("warning", "the same pixels as {}", "keep one: a copy in validation raises the score"),
    "near copy": Complaint(
        "warning", "the image of {}, saved another way", "keep one: a copy in validation raises the score"
    ),
    "exposure": Complaint(
        "warning", "grey values span {} what is usual in this set", "export all with the same settings"
    ),
    "scale": Complaint(
        "warning",
        "objects are {} as large across as in the other images",
        "resample the image and its labels to one scale",
    ),
    "blank": Complaint("warning", "{} object(s) where the image is black", "crop the image, or delete these objects"),
    "rectangles": Complaint(
        "warning", "objects are rectangles: {}", "draw outlines: a network learns the corners, too"
    ),
    "stray": Complaint(
        "warning",
        "value {} only on the way between two others, without an area of its own",
        "check --fix DIR gives these pixels the nearest full number",
    ),
    "types": Complaint("warning", "images of different types: {}", "export all with the same settings"),
    "pixel sizes": Complaint(
        "warning", "images of different pixel sizes: {}", "resample them to one size: objects must look alike"
    ),
    "split": Complaint(
        "warning", "one number for several pieces far apart: {}", "check --fix DIR gives each piece its own number"
    ),
    "specks": Complaint("warning", "specks, too small to be objects: {}", "check --fix DIR removes them"),
    "unlabelled": Complaint(
        "warning", "image without labels; it is left out", "annotate it, name its labels like it, or ignore this"
    ),
    "mask": Complaint(
        "note",
        "labels have two values, so objects that touch count as one{}",
        "give each object its own number if that matters",
    ),
    "ignored": Complaint("note", "{} of the pixels are marked as not annotated", "nothing to do: they are left out"),
    "few": Complaint("note", "only {} annotated image(s)", "annotate a second one: validation cuts this one in two"),
}
