# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Tutorial: from images to a scored result
#
# This script makes synthetic images, trains a network on them, segments an image that the network has not seen, and
# scores the result. It needs no data and no GPU, and takes one to three minutes. Replace the first part by your own
# images when you have seen how it works.
#
# It is a plain Python file: run it with `python tutorial.py`, or cell by cell in an editor or a notebook.

# %% [markdown]
# ## 1. Images and labels
#
# Four images to learn from, and one to try the result on. An image has the axes (C, Y, X). Labels have the axes (Y,
# X): 0 is background, and every cell has a number of its own.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tifffile

import contractile as ct
from contractile.synthetic import SceneConfig

ct.prepare_process()
rng = np.random.default_rng(7)
scene = SceneConfig(shape=(128, 128), radius=9)
folder = Path("tutorial")
for name in ("a", "b", "c", "d"):
    image, labels = ct.draw_scene(scene, rng)
    for kind, pixels in (("images", image[0].clip(0)), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / kind / f"{name}.tif", pixels.astype(np.uint16))
new_image, truth = ct.draw_scene(scene, rng)

figure, axes = plt.subplots(1, 2, figsize=(8, 4))
axes[0].imshow(image[0], cmap="gray")
axes[0].set_title("image d")
axes[1].imshow(np.where(labels > 0, labels % 19 + 1, 0), cmap="tab20", interpolation="nearest")
axes[1].set_title(f"its labels: {labels.max()} cells")
plt.show()

# %% [markdown]
# ## 2. Is anything wrong with the data?
#
# `check_dataset` looks for labels that are swapped, shifted or of the wrong size, and much more. No finding is good
# news.

# %%
for finding in ct.check_dataset(folder / "images", folder / "labels"):
    print(finding)

# %% [markdown]
# ## 3. Train
#
# All settings are derived from the data. A real training has `{"minutes": 10}` and nothing else. Here the number of
# steps is fixed and batches are small, so that it is quick. Everything is written into the folder `out`.

# %%
recipe = {"steps": 120, "samples": {"batch": 4}}
run = ct.train(folder / "images", folder / "labels", out=folder / "run", recipe=recipe, overwrite=True)
page = ct.write_report(run, overwrite=True)
print(f"a page with scores, curves and worst images: {page}")

# %% [markdown]
# ## 4. Segment an image that the network has not seen
#
# `segment` takes an array of any size.

# %%
model = ct.load(folder / "run")
predicted = model.segment(new_image)
print(f"{predicted.max()} cells found, {truth.max()} are there")

# %% [markdown]
# ## 5. How good is it?
#
# With a truth: `iou` says whether the area is right, `f1` how many cells are found. 1 is best.

# %%
scores = ct.evaluate(predicted, truth)
for name in ("iou", "f1", "pq"):
    print(f"{name}: {scores.summary[name].value:.2f}")

# %% [markdown]
# Without a truth, the model itself says what is to be expected. It learned that from the images that were held out in
# training; with so few of them it is uncertain.

# %%
found = model.assess(new_image)
if found.expected is not None:
    print(f"expected AP: {found.expected.ap:.2f} ({found.expected.ap_low:.2f} to {found.expected.ap_high:.2f})")

# %% [markdown]
# ## 6. Look at it
#
# Blue: the truth. Orange: the prediction. A blue outline alone is a cell that was missed, an orange one alone a cell
# that is not there.

# %%
plt.figure(figsize=(6, 6))
plt.imshow(ct.overlay(new_image, predicted, truth=truth))
plt.axis("off")
plt.show()

# %% [markdown]
# ## Where to go from here
#
# - Your own images: put them and their labels into two folders, and give these to `ct.train`.
# - Better results: more minutes, and more annotations where it fails.
# - The same on the command line: `contractile train`, `contractile predict`, `contractile evaluate`.
