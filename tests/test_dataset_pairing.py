"""Images and labels on disk -> pairs: names, one folder for both, stacks, axes from labels, and the field's layouts."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from contractile.dataset import load_examples, pair_up
from contractile.errors import ContractileError
from contractile.images.folders import below_common
from contractile.images.names import bare, pair_names

BLANK = np.zeros((4, 4), np.uint8)


def write(folder, names, array=BLANK):
    """Small TIFFs, or whatever the suffix says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name.endswith((".tif", ".tiff")):
            tifffile.imwrite(folder / name, array, photometric="minisblack")
        elif name.endswith(".npy"):
            np.save(folder / name, array)
        else:
            Pillow.fromarray(array).save(folder / name)


def files(pairs):
    return [(pair.image.path.name, pair.labels.path.name) for pair in pairs]


def names(pairs):
    return [(pair.image.name, pair.labels.name) for pair in pairs]


# Names


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["a.tif", "b.tif"], ["a.tif", "b.tif"]),
        (["a_img.tif", "b_img.tif"], ["a_mask.tif", "b_mask.tif"]),
        (["image1.tif", "image2.tif"], ["label1.tif", "label2.tif"]),
        (["a.tif", "b.tif"], ["a_cp_masks.png", "b_cp_masks.png"]),
        (["a.ome.tif", "b.ome.tif"], ["a.tif", "b.tif"]),
        (["a.tif", "b.tif"], ["a.tiff.png", "b.tiff.png"]),
        (["a.tif", "b.tif"], ["a.labels.tif", "b.labels.tif"]),
        (["A 1.tif", "a 2.tif"], ["a_1 .tif", "A_2 .tif"]),
        (["cell01.tif", "cell02.tif"], ["cell_1_seg.tif", "cell_2_seg.tif"]),
        (["expA_raw.tif", "expB_raw.tif"], ["GroundTruth_expA.tif", "ground truth expB.tif"]),
        (["s1.tif", "s2.tif"], ["s1LabelImage.tif", "s2LabelImage.tif"]),
        (["s [x=0,y=5,w=4,h=4].tif", "s [x=0,y=-5,w=4,h=4].tif"],
         ["s [x=0,y=5,w=4,h=4]-labelled.tif", "s [x=0,y=-5,w=4,h=4]-labelled.tif"]),
    ],
)  # fmt: skip
def test_pairs_match_by_name(tmp_path, images, labels, caplog):
    write(tmp_path / "i", images)
    write(tmp_path / "l", labels)
    assert files(pair_up(tmp_path / "i", tmp_path / "l")) == list(zip(images, labels, strict=True))
    assert not caplog.text


def test_two_spellings_of_an_umlaut_are_one_name(tmp_path):
    write(tmp_path / "i", [unicodedata.normalize("NFC", f"Zählung_{n}.tif") for n in "ab"])
    write(tmp_path / "l", [unicodedata.normalize("NFD", f"zählung_{n}_mask.tif") for n in "ab"])
    assert [pair.name[-1] for pair in pair_up(tmp_path / "i", tmp_path / "l")] == ["a", "b"]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (["ctrl_1", "ctrl_2"], ["treated_1", "treated_2"], "by their numbers alone: ctrl_1 with treated_1, ctrl_2"),
        (["t000", "t001"], ["man_seg000", "man_seg001"], "by their numbers alone: t000 with man_seg000"),
        (["cell 3 raw", "cell 11 raw"], ["Truth_3", "Truth_11"], "by their numbers alone: cell 3 raw with Truth_3"),
        (["plate7_007", "plate8_008"], ["x7_7", "y8_8"], "by their numbers alone: plate7_007 with x7_7"),
        (["a_dapi", "b_dapi"], ["a_nuclei", "b_nuclei"], "by the parts of their names that differ: a_dapi with a_nuc"),
        (["wt_a", "wt_b", "wt_c"], ["mut_b", "mut_c"], "by the parts of their names that differ: wt_b with mut_b"),
    ],
)
def test_pairs_without_a_common_name_are_announced(tmp_path, images, labels, said, caplog):
    write(tmp_path / "i", [f"{name}.tif" for name in images])
    write(tmp_path / "l", [f"{name}.tif" for name in labels])
    expected = list(zip(images[-len(labels) :], labels, strict=True))
    assert names(pair_up(tmp_path / "i", tmp_path / "l")) == expected
    assert said in caplog.text
    assert "; rename them if that is wrong" in caplog.text


@pytest.mark.parametrize("label", ["treated_2", "mask7"])
def test_one_image_and_one_label_file_with_different_numbers_are_announced(tmp_path, label, caplog):
    write(tmp_path / "i", ["ctrl_1.tif"])
    write(tmp_path / "l", [f"{label}.tif"])
    assert len(pair_up(tmp_path / "i", tmp_path / "l")) == 1
    assert f"since there is one of each, though their numbers differ: ctrl_1 with {label}; rename" in caplog.text


@pytest.mark.parametrize("names", [("cells.tif", "by_hand.tif"), ("a_1.tif", "b_01.tif"), ("a_1.tif", "truth.tif")])
def test_one_image_and_one_label_file_always_match(tmp_path, names, caplog):
    write(tmp_path, names)
    assert files(pair_up(tmp_path / names[0], tmp_path / names[1])) == [names]
    assert not caplog.text


def test_only_the_pairs_in_doubt_are_shown(tmp_path, caplog):
    write(tmp_path / "i", ["x_1.tif", "x_2.tif", "x_3.tif"])
    write(tmp_path / "l", ["x_1_mask.tif", "x_2_mask.tif", "y_3_mask.tif"])
    assert len(pair_up(tmp_path / "i", tmp_path / "l")) == 3
    assert "alone: x_3 with y_3_mask; rename" in caplog.text


def test_names_that_are_not_unique_pair_nothing():
    assert pair_names(["a", "a", "b"], ["a", "b"]).partners == {"b": "b"}
    assert pair_names(["a_img", "a_raw", "b"], ["a", "b"]).partners == {"b": "b"}
    assert pair_names(["a", "b"], ["c", "d"]).partners == {}
    assert pair_names(["a"], ["by hand"]).partners == {"a": "by hand"}


NAMES = st.lists(st.from_regex(r"[a-z]{1,3}_?[0-9]{1,3}", fullmatch=True), min_size=2, max_size=8, unique_by=bare)


@given(NAMES, st.sampled_from(["{}_mask", "{}-labels", "gt_{}", "{}_cp_masks", "{}.labels", "{}_SEG"]), st.randoms())
def test_a_word_for_labels_changes_no_pair(stems, form, random):
    labels = [form.format(stem) for stem in stems]
    random.shuffle(labels)
    assert pair_names(stems, labels).partners == {stem: form.format(stem) for stem in stems}
    assert not pair_names(stems, labels).doubtful


# One folder for both


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}.tif", "{}_masks.tif"),
        ("{}.tif", "{}_mask.png"),
        ("{}.tif", "{}_cp_masks.png"),
        ("{}.tif", "{}-labels.tif"),
        ("{}.tif", "{}_label.tif"),
        ("{}.tif", "{}_seg.tif"),
        ("{}.tif", "{}_gt.tif"),
        ("{}.tif", "{}.labels.tif"),
        ("{}.tif", "mask_{}.tif"),
        ("{}_img.png", "{}_annotation.png"),
        ("seg_{}.tif", "seg_{}_mask.tif"),
        ("{}_0000.png", "{}.png"),
        ("{}.jpg", "{}.png"),
        ("{}_i.tif", "{}_l.tif"),
        ("{}_X.npy", "{}_Y.npy"),
        ("X_{}.npy", "y_{}.npy"),
        ("{}_raw.tif", "{}_nuclei.tif"),
        ("exp_img_{}.tif", "exp_lab_{}.tif"),
        ("{}.tif", "{}_Simple Segmentation.tif"),
        ("{}.tif", "{}_Object Predictions.tif"),
        ("{}_img.tif", "{}-GroundTruth.tif"),
    ],
)
@pytest.mark.parametrize("given", ["folder twice", "folder once", "patterns", "list"])
def test_one_folder_holds_both(tmp_path, image, label, given):
    expected = [(image.format(n), label.format(n)) for n in ("a1", "b2", "c3")]
    write(tmp_path, [name for pair in expected for name in pair])
    everything = sorted(tmp_path.iterdir())
    place = {"folder twice": tmp_path, "folder once": tmp_path, "patterns": f"{tmp_path}/*", "list": everything}[given]
    pairs = pair_up(place) if given == "folder once" else pair_up(place, place)
    assert files(pairs) == expected


@pytest.mark.parametrize("pattern", ["*.tif", "*[ab].tif"])
def test_a_pattern_for_images_may_match_the_labels_too(tmp_path, pattern):
    write(tmp_path, ["a.tif", "b.tif", "a_hand_drawn.tif", "b_hand_drawn.tif"])
    pairs = pair_up(tmp_path / pattern, tmp_path / "*_hand_drawn.tif")
    assert files(pairs) == [("a.tif", "a_hand_drawn.tif"), ("b.tif", "b_hand_drawn.tif")]


def test_images_are_never_their_own_labels(tmp_path):
    write(tmp_path / "i", ["a.tif", "b.tif"])
    (tmp_path / "l").symlink_to(tmp_path / "i")
    (tmp_path / "m").mkdir()
    for name in ("a.tif", "b.tif"):
        (tmp_path / "m" / name).symlink_to(tmp_path / "i" / name)
    (tmp_path / "n").mkdir()
    os.link(tmp_path / "i" / "a.tif", tmp_path / "n" / "other.tif")
    where = tmp_path / "i"
    places = (
        None,
        where,
        str(where) + "/",
        tmp_path / "l",
        where / "*.tif",
        where / "?.tif",
        tmp_path / "m",
        tmp_path / "n",
    )
    for place in (*places, where / "a.tif"):
        with pytest.raises(ContractileError, match=r"images and labels are the same files: a.tif.*; give the labels"):
            pair_up(where, place)


def test_what_cellpose_and_predict_write_beside_labels_is_left_out(tmp_path, caplog):
    write(
        tmp_path / "d", [f"{n}{end}" for n in "ab" for end in (".tif", "_cp_masks.png", "_flows.tif", "_outlines.png")]
    )
    assert files(pair_up(tmp_path / "d")) == [("a.tif", "a_cp_masks.png"), ("b.tif", "b_cp_masks.png")]
    assert "a_flows.tif and 3 more: left out, since such files hold neither images nor labels" in caplog.text
    write(tmp_path / "l", [f"{n}_{end}" for n in "ab" for end in ("labels.tif", "overlay.png", "probabilities.tif")])
    write(tmp_path / "l", ["a.tif"])  # a copy of an image
    write(tmp_path / "i", ["a.tif", "b.tif", "a_masks.tif"])
    assert files(pair_up(tmp_path / "i", tmp_path / "l")) == [("a.tif", "a_labels.tif"), ("b.tif", "b_labels.tif")]


def test_a_word_in_all_names_is_no_role(tmp_path):
    write(tmp_path, ["blood_flow_1.tif", "blood_flow_2.tif", "blood_flow_1_mask.tif", "blood_flow_2_mask.tif"])
    assert files(pair_up(tmp_path)) == [(f"blood_flow_{n}.tif", f"blood_flow_{n}_mask.tif") for n in (1, 2)]


# What does not pair


def test_no_pairs(tmp_path):
    write(tmp_path / "i", ["a.tif", "b.tif"])
    write(tmp_path / "l", ["c.tif", "d.tif"])
    with pytest.raises(
        ContractileError, match=r"/l: no pairs found: 2 image\(s\) .* \(a, b\) and 2 label file\(s\) .* \(c, d\)"
    ):
        pair_up(tmp_path / "i", tmp_path / "l")


def test_labels_without_an_image(tmp_path):
    write(tmp_path / "i", ["a.tif"])
    write(tmp_path / "l", ["a.tif", "b.tif"])
    with pytest.raises(ValueError, match=r"labels without an image in .*: b \(1 of 2\); add the images"):
        pair_up(tmp_path / "i", tmp_path / "l")


def test_two_files_for_one_name(tmp_path):
    write(tmp_path / "i", ["a.tif", "b.tif"])
    write(tmp_path / "l", ["a_masks.tif", "a_cp_masks.png", "b_masks.tif"])
    with pytest.raises(ContractileError, match=r"several labels for one name: a_cp_masks.png, a_masks.tif; keep one"):
        pair_up(tmp_path / "i", tmp_path / "l")


ILASTIK = [
    "Object Identities",
    "Object-Identities",
    "Simple Segmentation",
    "Object Predictions",
    "Multicut Segmentation",
]


@pytest.mark.parametrize("export", ILASTIK)
def test_what_ilastik_exports_beside_images(tmp_path, export):
    others = ["Probabilities", "Object Probabilities", "Pixel Probabilities", "Uncertainty", "Features"]
    write(tmp_path, [f"{n}{end}.tif" for n in "ab" for end in ("", f"_{export}", *(f"_{one}" for one in others))])
    expected = [(f"{n}.tif", f"{n}_{export}.tif") for n in "ab"]
    assert files(pair_up(tmp_path)) == expected
    assert files(pair_up(tmp_path / "?.tif", tmp_path / f"*_{export}.tif")) == expected


def test_several_exports_of_one_image_are_told_apart_by_a_pattern(tmp_path):
    write(tmp_path, [f"{n}{end}.tif" for n in "ab" for end in ("", "_Object Identities", "_Simple Segmentation")])
    for place in (None, tmp_path):
        with pytest.raises(
            ContractileError,
            match=r"several labels for one name: a_Object Identities.tif, a_Simple Segmentation.tif; keep one of them, "
            r"or give those of one kind by a pattern \(\*Object Identities.tif\)",
        ):
            pair_up(tmp_path, place)
    pairs = pair_up(tmp_path, tmp_path / "*Object Identities.tif")
    assert files(pairs) == [(f"{n}.tif", f"{n}_Object Identities.tif") for n in "ab"]
    write(tmp_path / "j", ["a.tif", "a.png", "b.tif"])
    write(tmp_path / "m", ["a.tif", "b.tif"])
    with pytest.raises(ContractileError, match=r"/j: several images for one name: a.png, a.tif; keep one of them"):
        pair_up(tmp_path / "j", tmp_path / "m")


# Stacks and axes


def test_stacks_match_page_by_page(tmp_path):
    write(tmp_path, ["a3_i.tif", "a_l.tif"], np.zeros((3, 8, 8), np.uint8))
    for pairs in (pair_up(tmp_path / "a3_i.tif", tmp_path / "a_l.tif"), pair_up(tmp_path)):
        assert [(pair.image.page, pair.labels.page) for pair in pairs] == [(0, 0), (1, 1), (2, 2)]
        assert [pair.name for pair in pairs] == ["a3_i_0000", "a3_i_0001", "a3_i_0002"]


def test_several_stacks_match_by_name_and_then_page_by_page(tmp_path):
    for name, count in (("x", 3), ("y", 2)):
        write(tmp_path / "i", [f"{name}.tif"], np.zeros((count, 8, 8), np.uint8))
        write(tmp_path / "l", [f"{name}_labels.tif"], np.zeros((count, 8, 8), np.uint8))
    pairs = pair_up(tmp_path / "i", tmp_path / "l")
    assert [(pair.name, pair.labels.name) for pair in pairs][2:] == [
        ("x_0002", "x_labels_0002"),
        ("y_0000", "y_labels_0000"),
        ("y_0001", "y_labels_0001"),
    ]


def test_stacks_of_different_lengths(tmp_path):
    write(tmp_path, ["four.tif"], np.zeros((4, 8, 8), np.uint8))
    write(tmp_path, ["five.tif"], np.zeros((5, 8, 8), np.uint8))
    with pytest.raises(
        ContractileError, match=r"four.tif: has 4 page\(s\), and its labels .*five.tif have 5; give labels"
    ):
        pair_up(tmp_path / "four.tif", tmp_path / "five.tif")


def test_a_stack_whose_pages_are_labelled_in_files_of_their_own(tmp_path, caplog):
    write(tmp_path / "i", ["stack.tif"], np.zeros((3, 8, 8), np.uint8))
    write(tmp_path / "l", ["m1.tif", "m2.tif", "m10.tif"], np.zeros((8, 8), np.uint8))
    pairs = pair_up(tmp_path / "i", tmp_path / "l")
    assert [(pair.image.page, pair.labels.name) for pair in pairs] == [(0, "m1"), (1, "m2"), (2, "m10")]
    assert "paired in their order: stack_0000 with m1" in caplog.text
    write(tmp_path / "l", ["m3.tif"], np.zeros((8, 8), np.uint8))
    with pytest.raises(ContractileError, match=r"no pairs found: 3 image.* and 4 label file"):
        pair_up(tmp_path / "i", tmp_path / "l")


def test_frames_in_files_and_their_labels_in_one_stack(tmp_path):
    write(tmp_path / "i", [f"t_{n:04d}.tif" for n in range(3)], np.zeros((8, 8), np.uint8))
    write(tmp_path, ["t.tif"], np.zeros((3, 8, 8), np.uint8))
    pairs = pair_up(tmp_path / "i", tmp_path / "t.tif")
    assert [(pair.image.name, pair.labels.page) for pair in pairs] == [("t_0000", 0), ("t_0001", 1), ("t_0002", 2)]


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 12, 10), "CYX"), ((12, 10, 5), "YXC"), ((3, 12, 10), "CYX"), ((12, 2, 10), "YCX")]
)
def test_the_shape_of_the_labels_says_what_axes_are(tmp_path, shape, axes, caplog):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    write(tmp_path / "i", ["a.tif", "b.tif"], pixels)
    write(tmp_path / "l", ["a.tif", "b.tif"], np.tile(np.arange(2, dtype=np.uint8), (12, 5)))
    pairs = pair_up(tmp_path / "i", tmp_path / "l")
    examples = load_examples(pairs)
    np.testing.assert_array_equal(examples[0].pixels, np.moveaxis(pixels, axes.index("C"), 0))
    assert [one.pixels.shape[1:] for one in examples] == [(12, 10)] * 2
    assert {pair.image.axes for pair in pairs} == {axes}
    said = [line for line in caplog.messages if "from the shape of the labels" in line]
    assert said == (
        [f"axes {axes}, from the shape of the labels (--axes settles it otherwise): a.tif, b.tif"] if said else []
    )


@pytest.mark.parametrize(
    ("image", "labels", "axes"),
    [
        ((40, 30, 5), (40, 30), "YXC"),
        ((2, 12, 10), (12, 10), "CYX"),
        ((5, 12, 10), (5, 12, 10), "QYX"),
        ((12, 10), (12, 10), None),
        ((40, 12, 10), (40, 12, 10), None),
    ],
)
def test_axes_that_were_guessed_right_are_kept_where_others_could_be_meant(tmp_path, image, labels, axes, caplog):
    write(tmp_path / "i", ["a.npy", "b.npy"], np.zeros(image, np.uint8))
    write(tmp_path / "l", ["a.npy", "b.npy"], np.zeros(labels, np.uint8))
    pairs = pair_up(tmp_path / "i", tmp_path / "l")
    assert {pair.image.axes for pair in pairs} == {axes}
    assert len(pairs) == 2 * (labels[0] if len(labels) == 3 else 1)
    assert caplog.messages == []


def test_axes_that_are_given_win(tmp_path):
    write(tmp_path / "i", ["a.tif"], np.zeros((2, 12, 10), np.uint8))
    write(tmp_path / "l", ["a.tif"], np.zeros((12, 10), np.uint8))
    with pytest.raises(ContractileError, match=r"a.tif: has 2 page\(s\), and its labels .*a.tif have 1; .*--axes CYX"):
        pair_up(tmp_path / "i", tmp_path / "l", axes="QYX")
    [pair] = pair_up(tmp_path / "i", tmp_path / "l", axes="CYX")
    assert (pair.image.axes, pair.image.page) == ("CYX", None)


def test_labels_have_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 12, 10), np.uint8), ome=True, metadata={"axes": "ZYX"})
    np.save(tmp_path / "a_mask.npy", np.zeros((3, 12, 10), np.uint8))
    pairs = pair_up(tmp_path)
    assert [(pair.image.page, pair.labels.page) for pair in pairs] == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("annotated", [[1], [0, 2], [0, 1, 2]])
def test_pages_of_a_stack_that_are_annotated_in_files_of_their_own(tmp_path, annotated, caplog):
    write(tmp_path, ["b.tif"], np.zeros((3, 8, 8), np.uint8))
    write(tmp_path / "l", [f"b_{page:04d}.tif" for page in annotated], np.zeros((8, 8), np.uint8))
    pairs = pair_up(tmp_path / "b.tif", tmp_path / "l")
    assert [(pair.image.page, pair.labels.name) for pair in pairs] == [(page, f"b_{page:04d}") for page in annotated]
    assert caplog.messages == []


def test_pages_pair_by_name_where_their_order_is_another_one(tmp_path):
    write(tmp_path, ["b.tif", "a.tif"], np.zeros((2, 8, 8), np.uint8))
    write(tmp_path / "l", [f"{name}_{page:04d}.tif" for name in "ab" for page in (0, 1)], np.zeros((8, 8), np.uint8))
    pairs = pair_up([tmp_path / "b.tif", tmp_path / "a.tif"], tmp_path / "l")
    assert [pair.image.name for pair in pairs] == [pair.labels.name for pair in pairs]


def test_images_without_labels_are_said_unless_the_caller_has_use_for_them(tmp_path, caplog):
    write(tmp_path / "i", ["a.tif", "b.tif"])
    write(tmp_path / "l", ["a.tif"])
    pair_up(tmp_path / "i", tmp_path / "l", quiet=True)
    assert caplog.messages == []
    pair_up(tmp_path / "i", tmp_path / "l")
    assert caplog.messages == ["1 of 2 images have no labels and are left out"]


def test_pairs_need_no_pytorch():
    code = "import sys, contractile.dataset as d; d.pair_up; print('torch' in sys.modules); d.Samples"
    code += "; print('torch' in sys.modules); d.nothing"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.split() == ["False", "True"]
    assert "module 'contractile.dataset' has no attribute 'nothing'" in found.stderr


# Layouts


def test_the_cell_tracking_challenge(tmp_path, caplog):
    write(tmp_path / "01", ["t000.tif", "t001.tif", "t002.tif"])
    write(tmp_path / "01_GT" / "SEG", ["man_seg001.tif"])
    write(tmp_path / "01_ST" / "SEG", ["man_seg000.tif", "man_seg001.tif", "man_seg002.tif"])
    assert names(pair_up(tmp_path / "01", tmp_path / "01_ST"))[2] == ("t002", "man_seg002")
    assert not caplog.text
    assert names(pair_up(tmp_path / "01", tmp_path / "01_GT")) == [("t001", "man_seg001")]
    assert caplog.messages == ["2 of 3 images have no labels and are left out"]
    assert names(pair_up(tmp_path))[2] == ("t002", "man_seg002")
    assert "01: the labels are those of 01_ST" in caplog.text
    write(tmp_path / "02", ["t000.tif", "t001.tif"])
    write(tmp_path / "02_GT" / "SEG", ["man_seg000.tif", "man_seg001.tif"])
    assert [pair.name for pair in pair_up(tmp_path, tmp_path)] == [
        "01_t000",
        "01_t001",
        "01_t002",
        "02_t000",
        "02_t001",
    ]


LAYOUTS = {
    "StarDist": ("train/images/a{n}.tif", "train/masks/a{n}.tif"),
    "nnU-Net": ("imagesTr/case{n}_0000.png", "labelsTr/case{n}.png"),
    "nnU-Net with numbers": ("imagesTr/c_00{n}_0000.tif", "labelsTr/c_00{n}.tif"),
    "BiaPy": ("train/raw/a{n}.tif", "train/label/a{n}.tif"),
    "BiaPy, x and y": ("train/x/a{n}.tif", "train/y/a{n}.tif"),
    "BiaPy, data": ("data/train/raw/a{n}.tif", "data/train/label/a{n}.tif"),
    "QuPath folders": ("images/s [x={n}0,y=-5,w=4,h=4].tif", "labels/s [x={n}0,y=-5,w=4,h=4]-labels.png"),
    "QuPath masks": ("images/a{n}.jpg", "masks/a{n}-labels.png"),
    "QuPath tiles": ("tiles/s/s [d=2,x={n},y=4].tif", "tiles/s/s [d=2,x={n},y=4]-labelled.tif"),
    "QuPath tiles of two slides": ("tiles/s{n}/s{n} [x=0,y=4].tif", "tiles/s{n}/s{n} [x=0,y=4]-labelled.tif"),
    "QuPath tiles, two formats": ("tiles/s/s [x={n},y=4].jpg", "tiles/s/s [x={n},y=4].png"),
    "Cellpose folders": ("a{n}.tif", "masks/a{n}_cp_masks.png"),
    "a folder for each image": ("{n}/image.png", "{n}/mask.png"),
    "folders in a folder for each day": ("day{n}/raw/a.tif", "day{n}/annotated/a.tif"),
    "capital letters": ("Images/a{n}.tif", "GroundTruth/a{n}.tif"),
    "BBBC": ("rawimages/a{n}.tif", "ground truth/a{n}.tif"),
    "folders below both": ("images/d{n}/a.tif", "masks/d{n}/a.tif"),
    "train below": ("images/train/a{n}.tif", "labels/train/a{n}.tif"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_field(tmp_path, layout):
    """The folder of a dataset is given twice or once, or, where there are two folders, both."""
    (tmp_path / "dataset.json").write_text("{}")
    expected = [tuple(tmp_path / form.format(n=n) for form in LAYOUTS[layout]) for n in (1, 2)]
    for path in (path for pair in expected for path in pair):
        write(path.parent, [path.name])
    places = [(tmp_path, tmp_path), (tmp_path,)]
    parents = [tuple(path.parent for path in pair) for pair in expected]
    places += [parents[0]] if parents[0] == parents[1] else []
    for place in places:
        pairs = pair_up(*place)
        assert [(pair.image.path, pair.labels.path) for pair in pairs] == expected
        assert len({pair.name for pair in pairs}) == 2


def test_a_folder_of_test_images_is_not_taken(tmp_path):
    for folder in ("imagesTr", "imagesTs"):
        write(tmp_path / folder, ["a_0000.tif", "b_0000.tif"])
    write(tmp_path / "labelsTr", ["a.tif", "b.tif"])
    pairs = pair_up(tmp_path)
    assert [(pair.name, pair.image.path.parent.name) for pair in pairs] == [("a", "imagesTr"), ("b", "imagesTr")]


def test_files_of_channels_are_one_image(tmp_path, caplog):
    for channel in range(2):
        for n, name in enumerate("ab"):
            write(tmp_path / "imagesTr", [f"{name}_{channel:04d}.tif"], np.full((4, 4), 10 * n + channel, np.uint8))
    write(tmp_path / "labelsTr", ["a.tif", "b.tif"], np.eye(4, dtype=np.uint8))
    examples = load_examples(pair_up(tmp_path))
    assert [(one.name, one.pixels[:, 0, 0].tolist()) for one in examples] == [("a", [0, 1]), ("b", [10, 11])]
    assert caplog.messages == ["a_0000.tif, a_0001.tif are taken for the channels of one image, as nnU-Net names them"]
    write(tmp_path / "imagesTr", ["b_0001.tif"], np.zeros((5, 4), np.uint8))
    with pytest.raises(
        ContractileError, match=r"b_0001.tif: the files of one image must have the same size, got \(5, 4\)"
    ):
        load_examples(pair_up(tmp_path))


def test_a_missing_channel_is_named(tmp_path):
    write(tmp_path / "imagesTr", ["a_0000.tif", "a_0001.tif", "b_0000.tif"])
    write(tmp_path / "labelsTr", ["a.tif", "b.tif"])
    with pytest.raises(
        ContractileError, match=r"channels 0000, 0001, as others have, got b_0000.tif for b; add the mis"
    ):
        pair_up(tmp_path)


@pytest.mark.parametrize("given", ["folder", "patterns", "one case"])
def test_masks_of_single_objects_are_one_label_image(tmp_path, given):
    """The layout of the Data Science Bowl 2018."""
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 0, :2] = masks[1, 1, 2:] = masks[2, 3, 3] = 255
    for case, some in (("0a", masks), ("1b", masks[:1])):
        folder = tmp_path / "stage1_train" / case
        write(folder / "images", [f"{case}.png"], np.dstack([BLANK] * 4))
        for n, mask in enumerate(some):
            write(folder / "masks", [f"{n}f{case}.png"], mask)
    whole = tmp_path / "stage1_train"
    place = {
        "folder": (tmp_path, tmp_path),
        "patterns": (f"{whole}/*/images/*.png", f"{whole}/*/masks/*.png"),
        "one case": (whole / "0a",),
    }[given]
    examples = load_examples(pair_up(*place))
    assert [one.name for one in examples] == ["0a", "1b"][: len(examples)]
    np.testing.assert_array_equal(examples[0].labels, [[1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0], [0, 0, 0, 3]])
    assert len(examples) == (1 if given == "one case" else 2)
    assert all(one.labels.max() < 4 for one in examples)


def test_several_folders_for_one_side_are_named(tmp_path):
    for folder in ("images", "labels", "masks"):
        write(tmp_path / folder, ["a.tif"])
    with pytest.raises(
        ContractileError, match="several folders may hold the labels: labels, masks; give the folder of"
    ):
        pair_up(tmp_path)
    assert len(pair_up(tmp_path, tmp_path / "masks")) == 1


def test_folders_without_labels_beside_those_with_labels(tmp_path, caplog):
    write(tmp_path / "one", ["a.tif", "a_mask.tif"])
    write(tmp_path / "two", ["a.tif", "b.tif", "a_mask.tif", "b_mask.tif"])
    write(tmp_path / "three", ["a.tif"])
    assert [pair.name for pair in pair_up(tmp_path)] == ["one", "two_a", "two_b"]
    assert "left out, no images with labels in them: three" in caplog.text
    write(tmp_path / "bad" / "one", [])
    write(tmp_path / "bad" / "two", ["a.tif"])
    with pytest.raises(ContractileError, match=r"no image in it, only folders \(one, two\)"):
        pair_up(tmp_path / "bad")


def test_files_beside_folders_that_hold_all_do_not_matter(tmp_path):
    write(tmp_path, ["overview.png"])
    for case in "ab":
        write(tmp_path / case, ["image.tif", "mask.tif"])
    assert [pair.name for pair in pair_up(tmp_path)] == ["a", "b"]


def test_of_train_and_val_only_train_is_taken(tmp_path, caplog):
    for part in ("train", "val"):
        write(tmp_path / part / "images", [f"{part}.tif"])
        write(tmp_path / part / "masks", [f"{part}.tif"])
    assert [pair.name for pair in pair_up(tmp_path)] == ["train"]
    assert "train: holds the images and labels that are taken, and not val" in caplog.text


def test_paths_from_the_root_and_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("a", "b"):
        write(tmp_path / place / "images", ["x.tif"])
        write(tmp_path / place / "masks", ["x.tif"])
    far = tmp_path / "b"
    given = (["a/images/x.tif", far / "images/x.tif"], ["a/masks/x.tif", far / "masks/x.tif"])
    pairs = pair_up(*given)
    assert [pair.labels.path.resolve() for pair in pairs] == [tmp_path / place / "masks/x.tif" for place in "ab"]
    assert [pair.image.path.resolve() for pair in pairs] == [tmp_path / place / "images/x.tif" for place in "ab"]


def test_files_on_several_drives_have_their_whole_names(monkeypatch):
    def refuse(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("contractile.images.folders.os.path.commonpath", refuse)
    assert below_common([Path("/c/a.tif"), Path("/d/a.tif")]) == [Path("/c/a.tif"), Path("/d/a.tif")]


def test_the_same_names_in_several_folders(tmp_path):
    for folder in ("day1", "day2"):
        write(tmp_path / "i" / folder, ["a.tif", "b.tif"])
        write(tmp_path / "l" / folder, ["a.tif", "b.tif"])
    pairs = pair_up(f"{tmp_path}/i/*/*.tif", f"{tmp_path}/l/*/*.tif")
    assert [pair.name for pair in pairs] == ["day1_a", "day1_b", "day2_a", "day2_b"]
    assert all(pair.image.path.parent.name == pair.labels.path.parent.name for pair in pairs)


# OME-Zarr


def write_zarr(path, array, **labels):
    axes = [{"name": name, "type": "space"} for name in "yx"]
    root = zarr.open_group(path, mode="w", zarr_format=2)
    for group, values in ((root, array), *((root.create_group(f"labels/{name}"), v) for name, v in labels.items())):
        group.create_array("0", data=values)
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]


@pytest.mark.parametrize("given", ["pattern of labels", "folder twice", "folder once", "pattern twice", "one image"])
def test_labels_within_ome_zarr(tmp_path, given):
    for n in range(2):
        write_zarr(tmp_path / f"fov{n}.zarr", np.full((4, 4), n, np.uint8), cells=np.eye(4, dtype=np.uint8))
    images = f"{tmp_path}/*.zarr"
    place = {
        "pattern of labels": (images, f"{tmp_path}/*.zarr/labels/cells"),
        "folder twice": (tmp_path, tmp_path),
        "folder once": (tmp_path,),
        "pattern twice": (images, images),
        "one image": (tmp_path / "fov0.zarr", tmp_path / "fov0.zarr"),
    }[given]
    examples = load_examples(pair_up(*place))
    assert [(one.name, one.pixels.max(), one.labels.sum()) for one in examples] == [("fov0", 0, 4), ("fov1", 1, 4)][
        : len(examples)
    ]
    assert len(examples) == (1 if given == "one image" else 2)


def test_several_label_images_within_ome_zarr_are_named(tmp_path):
    write_zarr(tmp_path / "a.zarr", BLANK, cells=BLANK, nuclei=BLANK)
    with pytest.raises(
        ContractileError, match=r"a.zarr: holds several label images: cells, nuclei; give .*labels/cells"
    ):
        pair_up(tmp_path)
    [pair] = pair_up(tmp_path / "a.zarr", tmp_path / "a.zarr" / "labels" / "nuclei")
    assert (pair.name, pair.labels.name) == ("a", "nuclei")


# Reading pairs


def test_sizes_must_agree(tmp_path):
    write(tmp_path / "i", ["a.tif"], np.zeros((4, 5), np.uint8))
    write(tmp_path / "l", ["a.tif"], np.eye(4, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"image a \(4, 5\) and labels a \(4, 4\); crop or resample"):
        load_examples(pair_up(tmp_path / "i", tmp_path / "l"))


def write_colour(path, pixels):
    tifffile.imwrite(path, np.moveaxis(pixels, 0, -1).copy(), photometric="rgb")


COLOUR = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
GREY = COLOUR[:1]


def test_channels_must_agree(tmp_path):
    write(tmp_path / "i", ["a.tif"])
    write_colour(tmp_path / "i" / "b.tif", COLOUR)
    write(tmp_path / "l", ["a.tif", "b.tif"], np.eye(4, dtype=np.uint8))
    with pytest.raises(ValueError, match="same number of channels, got a: 1, b: 3; convert them"):
        load_examples(pair_up(tmp_path / "i", tmp_path / "l"))


@pytest.mark.parametrize(
    ("kinds", "channels", "said"),
    [
        ([GREY, np.repeat(GREY, 3, 0)], 1, "1 of 2 images (b) are grey pictures stored as colour"),
        ([np.repeat(GREY, 3, 0)] * 2, 1, "all images are grey pictures stored as colour"),
        ([np.repeat(GREY, 3, 0), COLOUR], 3, ""),
        ([COLOUR, COLOUR], 3, ""),
    ],
)
def test_grey_pictures_stored_as_colour(tmp_path, kinds, channels, said, caplog):
    for name, pixels in zip("ab", kinds, strict=True):
        if len(pixels) == 1:
            write(tmp_path / "i", [f"{name}.tif"], pixels[0])
        else:
            write(tmp_path / "i", [])
            write_colour(tmp_path / "i" / f"{name}.tif", pixels)
    write(tmp_path / "l", ["a.tif", "b.tif"], np.eye(4, dtype=np.uint8))
    examples = load_examples(pair_up(tmp_path / "i", tmp_path / "l"))
    for example, pixels in zip(examples, kinds, strict=True):
        np.testing.assert_array_equal(example.pixels, pixels[:channels])
    assert said in caplog.text
    assert len(caplog.messages) == bool(said)


def test_labels_of_one_value_teach_nothing(tmp_path):
    write(tmp_path / "i", ["a.tif"])
    write(tmp_path / "l", ["a.tif"])
    with pytest.raises(ValueError, match=r"at least two classes .* got only the value 0 in all 1 file"):
        load_examples(pair_up(tmp_path / "i", tmp_path / "l"))
    write(tmp_path / "l", ["a.tif"], np.full((4, 4), -1, np.int8))
    with pytest.raises(ContractileError, match=r"at least two classes .* got only pixels to ignore in all 1 file"):
        load_examples(pair_up(tmp_path / "i", tmp_path / "l"))


def test_numbers_of_objects_may_be_large(tmp_path):
    labels = np.zeros((4, 4), np.int32)
    labels[0], labels[2:] = 2_000_000_000, 7
    write(tmp_path, ["a.tif"])
    write(tmp_path, ["a_mask.tif"], labels)
    [example] = load_examples(pair_up(tmp_path))
    np.testing.assert_array_equal(example.labels, labels)


def test_a_set_of_files_is_one_image(tmp_path):
    """Two files of a multi-file OME-TIFF hold a channel each of one image."""
    (tmp_path / "i").mkdir()
    file = (
        '<TiffData FirstC="{n}" IFD="0" PlaneCount="1"><UUID FileName="a_c{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>'
    )
    channels = "".join(f'<Channel ID="Channel:0:{n}" SamplesPerPixel="1"/>' for n in range(2))
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="4" SizeZ="1" SizeC="2" SizeT="1">'
        f"{channels}{file.format(n=0)}{file.format(n=1)}</Pixels></Image></OME>"
    )
    for channel in range(2):
        text = xml.replace("<OME ", f'<OME UUID="urn:uuid:{channel}" ')
        image = np.full((4, 4), channel + 5, np.uint8)
        tifffile.imwrite(tmp_path / "i" / f"a_c{channel}.ome.tif", image, description=text, metadata=None)
    write(tmp_path / "l", ["a.tif"], np.eye(4, dtype=np.uint8))
    [example] = load_examples(pair_up(tmp_path / "i", tmp_path / "l"))
    assert example.pixels[:, 0, 0].tolist() == [5, 6]


def test_a_map_for_each_class_is_no_label_image(tmp_path):
    for kind, shape in (("images", (30, 40)), ("labels", (30, 40, 3))):
        (tmp_path / kind).mkdir()
        np.save(tmp_path / kind / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ContractileError, match=r"its labels .*a.npy have 3; .*\(argmax\)"):
        pair_up(tmp_path / "images", tmp_path / "labels")


@pytest.mark.parametrize("axis", [0, 2], ids=["KYX", "YXK"])
@pytest.mark.parametrize(("value", "name"), [(1, "a.tif"), (1, "a.npy"), (255, "a.npy"), (1.0, "a.tif")])
def test_one_hot_labels_are_named(tmp_path, axis, value, name):
    planes = np.stack([np.arange(24 * 32).reshape(24, 32) % 3 == plane for plane in range(3)], axis) * value
    (tmp_path / "i").mkdir()
    write(tmp_path / "i", ["a.tif"], np.zeros((24, 32), np.uint8))
    (tmp_path / "l").mkdir()
    planes = planes.astype(np.float32 if isinstance(value, float) else np.uint8)
    np.save(tmp_path / "l" / "a.npy", planes) if name == "a.npy" else write(tmp_path / "l", [name], planes)
    said = rf"{name}: .*, got 3 planes that sum to {value:.0f} at every pixel, so they look one-hot; .*\(argmax along"
    with pytest.raises(ContractileError, match=said):
        load_examples(pair_up(tmp_path / "i", tmp_path / "l"))


def test_axes_of_one_are_no_evidence(tmp_path, caplog):
    for kind in ("i", "l"):
        (tmp_path / kind).mkdir()
        np.save(tmp_path / kind / "a.npy", np.arange(32 * 24, dtype=np.uint16).reshape(1, 1, 32, 24, 1))
    [example] = load_examples(pair_up(tmp_path / "i", tmp_path / "l"))
    assert (example.pixels.shape, example.labels.shape) == ((1, 32, 24), (32, 24))
    assert caplog.messages == []


def test_pages_of_several_stacks_pair_with_label_files_of_their_names(tmp_path):
    for name in ("first", "second"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    labels = tmp_path / "labels"
    labels.mkdir()
    for name in ("first_0001", "second_0000", "second_0002"):
        tifffile.imwrite(labels / f"{name}.tif", np.ones((8, 8), np.int32))
    pairs = pair_up(tmp_path / "*.tif", labels)
    assert [pair.name for pair in pairs] == ["first_0001", "second_0000", "second_0002"]
    assert [pair.image.page for pair in pairs] == [1, 0, 2]
