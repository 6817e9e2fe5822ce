"""What bioimageio.core makes of a package. Runs in an environment of its own, which holds that library.

    PYTHON run_bioimageio.py PACKAGE.zip FOLDER

FOLDER holds image.npy (C, *S), whose sides the model takes, and ours.npy (K, *S). Prints one line of JSON: whether
`test_model` passed, and how far the results of the library are from ours at most, for each form of weights, with small
and with larger blocks and without any.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")

from bioimageio.core import predict, test_model  # noqa: E402
from bioimageio.core.prediction import create_prediction_pipeline  # noqa: E402
from bioimageio.spec import load_description  # noqa: E402

test_model.__test__ = False


def main(package, folder):
    model = load_description(package)
    image, ours = (np.load(folder / f"{name}.npy") for name in ("image", "ours"))
    found = {"version": str(model.format_version), "status": {}, "off": {}}
    for form in ("onnx", "torchscript"):
        found["status"][form] = test_model(model, weight_format=form).status
        pipeline = create_prediction_pipeline(model, weight_format=form)
        for more in (5, 10, None):
            sample = predict(model=pipeline, inputs=image[None], blocksize_parameter=more)
            [result] = sample.members.values()
            off = np.abs(np.asarray(result.data)[0] - ours)
            found["off"][f"{form} {more}"] = float(off.max())
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
