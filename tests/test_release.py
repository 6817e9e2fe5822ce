"""What a release is made of: one version everywhere, what the wheel holds, the recipe, the workflows."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
RECIPE = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
IN_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # names that differ there
FOR_DEVELOPERS = {"bench", "dev", "docs"}
LARGEST = 5_000_000  # bytes of the wheel
LARGEST_SOURCE = 10_000_000


def test_one_version_everywhere():
    heading = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    said = {
        "pyproject.toml": PROJECT["version"],
        "the package": version("contractile"),
        "CITATION.cff": CITATION["version"],
        "conda/recipe.yaml": RECIPE["context"]["version"],
        "CHANGELOG.md": heading[1],
        "README.md": re.search(r"contractile-([\d.]+)-py3", (ROOT / "README.md").read_text(encoding="utf-8"))[1],
    }
    assert len(set(said.values())) == 1, said
    assert str(CITATION["date-released"]) == heading[2]


def test_the_citation_is_that_of_this_package_and_names_the_paper():
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["abstract"] == PROJECT["description"]
    (paper,) = CITATION["references"]
    assert paper["doi"] == "10.1007/978-3-319-24574-4_28"


def test_the_recipe_asks_for_what_the_package_asks_for():
    asked = {}
    for line in PROJECT["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        asked[IN_CONDA.get(name, name)] = bounds
    python = RECIPE["context"]["python_min"]
    asked["python"] = PROJECT["requires-python"]
    run = [line.replace("${{ python_min }}", python).partition(" ") for line in RECIPE["requirements"]["run"]]
    assert {name: bounds for name, _, bounds in run} == asked
    assert RECIPE["build"]["python"]["entry_points"] == [
        f"{name} = {place}" for name, place in PROJECT["scripts"].items()
    ]
    about = RECIPE["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"])


def test_the_readme_names_every_extra():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    install = readme.split("\n## Install\n")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", install, re.MULTILINE))
    assert named == set(PROJECT["optional-dependencies"]) - FOR_DEVELOPERS


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / "contractile").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"contractile-{PROJECT['version']}.dist-info"
    more = {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == expected | more
    assert {
        f"contractile/{name}" for name in ("py.typed", "pretrained/nuclei.safetensors", "viewer/page/index.html")
    } <= names
    assert wheel.stat().st_size < LARGEST


def test_the_source_distribution_holds_what_is_built_tested_and_read(tmp_path):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as opened:
        names = [name.partition("/")[2] for name in opened.getnames()]
    assert {name.partition("/")[0] for name in names if "/" in name} == {
        "src", "tests", "recipes", "benchmarks", "docs", "conda"
    }  # fmt: skip
    loose = {"Makefile", "LICENSE", "CITATION.cff", "README.md", "SECURITY.md", "CHANGELOG.md", "zensical.toml"}
    read = {"tests/test_release.py", "tests/fuzz/corpus/manifests/.contractile.jsonl", "docs/log.md", "docs/formats.py"}
    assert loose | read <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".part"))]
    assert packed.stat().st_size < LARGEST_SOURCE


def test_what_is_tried_is_what_is_promised():
    if not WORKFLOWS:
        pytest.skip("the workflows are not part of this distribution")
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))["jobs"]["test"][
        "strategy"
    ]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert matrix["matrix"]["python"] == promised


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_trust_as_little_as_they_can(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        for right, given in job["permissions"].items():
            assert (right, given) == ("contents", "read") or (given == "write" and right in ("id-token", "pages"))
    used = re.findall(r"uses: (.*)$", text, re.MULTILINE)
    assert used
    for line in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert "secrets." not in text
    assert "pull_request_target" not in text
