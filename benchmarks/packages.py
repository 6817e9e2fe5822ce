"""Are BioImage.IO packages right for their readers? Asked of the library that defines their use, bioimageio.core.

    python benchmarks/packages.py --environment bioimageio-environment

That library wants other versions of packages than this project has, so the script makes an environment for it (about
1 GB; one that is there is used), and runs the tests of packages with it: `test_model` of bioimageio.core, and its tiled
prediction beside ours, for networks with and without padding, in 2-D and 3-D, with both forms of weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

NEEDED = ("bioimageio.core>=0.11,<0.12", "onnxruntime", "pydantic<2.14")  # with a later pydantic, its spec 0.5.12 fails
TORCH = "torch>=2.6,<2.14"
TESTS = Path(__file__).parents[1] / "tests" / "test_export_package.py"


def prepare(folder: Path) -> Path:
    """The Python of the environment in a folder, which is made where it is not there."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    for packages in ((TORCH,), NEEDED):  # PyTorch first, so that no other package chooses one
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python.absolute()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True, help="folder of the environment")
    python = prepare(parser.parse_args().environment)
    environment = {**os.environ, "CONTRACTILE_BIOIMAGEIO_PYTHON": str(python)}
    words = [sys.executable, "-m", "pytest", "-v", str(TESTS), "-k", "bioimageio_core"]
    return subprocess.run(words, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
