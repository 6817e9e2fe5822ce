"""The verb `view` and `contractile.view`: real processes, their ends, and what is said where something is missing."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import tifffile
from discs import TINY, bright_discs
from PIL import Image as Pillow
from test_cli import call, refused
from test_viewer_finding import LAYOUTS, fill
from viewer_server import Client, FakeLearning, served, small_session

import contractile as ct
from contractile.cli import viewing
from contractile.dataset import pair_up
from contractile.images.gate import limits
from contractile.model import Model, ModelCard, load, save
from contractile.unet import UNet, UNetConfig
from contractile.viewer import job_process, notebook, serving
from contractile.viewer.acts import Paint
from contractile.viewer.asked import Asked
from contractile.viewer.jobs import Jobs
from contractile.viewer.opening import open_places


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    """A working folder with two images and a model."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 200, (40, 48), np.uint8)
        tifffile.imwrite(f"images/{number}.tif", pixels)
    config = UNetConfig(width=2, depth=1, classes=3)
    save(Model(UNet(config), ModelCard(network=config, task="objects", diameter=12.0)), "m.safetensors")


@pytest.fixture
def view():
    """Begins `contractile view` in a process of its own; (process, client)."""
    begun = []

    def begin(*words):
        command = [sys.executable, "-m", "contractile.cli", "view", *words, "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun.append(process)
        lines = [process.stdout.readline() for _ in range(3)]
        link = re.search(r"http://\S+", lines[0])[0]
        again = re.search(r"http://\S+", lines[1])[0]
        running = types.SimpleNamespace(address=serving.Address(link, again))
        return process, Client(running).enter(), lines

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def end(process, number):
    """(status, rest of the output, errors) after a signal."""
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    return process.returncode, out, errors


DOT = {"kind": "paint", "image": 0, "points": [[5, 5]], "radius": 2, "value": "new"}


def test_a_session_from_begin_to_end_and_on(view):
    process, client, lines = view("images")
    assert lines[2] == "session images_session; Ctrl-C ends it\n"
    assert client.post("/api/strokes", DOT)[1]["number"] == 1
    again = subprocess.run(
        [sys.executable, "-m", "contractile.cli", "view", "images", "--no-browser"], capture_output=True, text=True
    )
    assert again.returncode == 2
    assert again.stderr.startswith("contractile: images_session: another process annotates in this folder; wait until")
    labels = str(Path("images_session", "labels"))
    assert end(process, signal.SIGINT) == (0, f"closed  all annotations are in {labels}\n", "")
    assert (tifffile.imread("images_session/labels/0.tif") == 1).sum() == 13

    process, client, _ = view("images_session")
    found = client.get("/api/session")[1]
    assert (found["name"], found["images"][0]["objects"], found["undo"]) == ("images_session", 1, True)
    assert client.post("/api/undo")[1]["changed"] == [3, 8, 3, 8]
    status, _, errors = end(process, signal.SIGTERM)
    assert (status, errors) == (143, "contractile: stopped\n")
    assert json.loads(Path("images_session/session.json").read_text())["task"] == "objects"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("view",), "images are missing; name the images: contractile view images"),
        (
            ("view", "a", "b", "c"),
            "view takes WHAT and LABELS, got 3 words (a, b, c); give the folder, or quote the pattern",
        ),
        (("view", "*.x"), "*.x: no file matches; check the pattern and the working folder"),
        (
            ("view", "images", "--host", "0.0.0.0"),
            "other machines can reach 0.0.0.0: whoever reads the traffic there can see and change everything; leave "
            f"out --host, and use ssh -L from elsewhere; or add {serving.CONSENT}",
        ),
        (
            ("view", "images", "--port", "80"),
            "port must be from 1,024 to 65,535, got 80; leave it out: a free one is taken",
        ),
        (("view", "images", "--port", "x"), "--port must be a whole number, got 'x'; give e.g. --port 1"),
        (
            ("view", "images", "--minutes", "nan"),
            "minutes must be a number above 0 and up to 10,080, got nan; use e.g. 10",
        ),
        (("view", "images", "--task", "x"), "task must be objects or classes, got 'x'; use objects"),
        (
            ("view", "images", "--classes", "a"),
            "classes must be 2 to 32 names, each once, got a; give e.g. background,nucleus",
        ),
        (("view", "images", "--sart", "nuclei"), "No such option: --sart; write --start"),
    ],
)
def test_wrong_calls(capsys, words, line):
    assert refused(capsys, *words) == f"contractile: {line}"
    assert not Path("images_session", "labels").exists()


def test_the_words_of_consent_are_the_same():
    assert viewing.CONSENT == serving.CONSENT


def test_the_help_names_what_is_there(capsys):
    text = call(capsys, "view", "--help")[1]
    for word in ("--out", "--start", "--task", "--classes", "--host", "--port", "--no-browser", "--minutes"):
        assert word in text


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_a_missing_extra_names_its_line(name):
    code = f"import sys; sys.modules['{name}'] = None; import contractile as ct; ct.view"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = found.stderr.splitlines()[-1]
    assert re.search(
        rf"the local page needs {name}\S*, which is not installed; run: pip install .contractile\[view\].", line
    )


def test_the_server_loads_no_pytorch():
    rooms = ", ".join(f"contractile.viewer.{one}" for one in ("notebook", "learning", "pictures", "session", "asked"))
    code = f"import sys, {rooms}"
    found = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert found.stdout == "False\n"


# the browser


def test_the_browser_is_opened_once_the_page_is_there(tmp_path, monkeypatch):
    opened = threading.Event()
    links = []
    monkeypatch.setattr(webbrowser, "open", lambda link: (links.append(link), opened.set()))
    monkeypatch.setattr(serving, "has_screen", lambda: True)
    with small_session(tmp_path / "x") as shown, served(shown) as running:
        running.open_browser()
        assert opened.wait(10)
        assert links == [running.address.link]
        monkeypatch.setattr(serving, "has_screen", lambda: False)
        running.open_browser()
        assert len(links) == 1


def test_a_browser_in_the_terminal_is_none(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not serving.has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert serving.has_screen()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert serving.has_screen()


# from Python


@pytest.fixture
def no_learner(monkeypatch):
    from contractile.viewer import learning

    fake = FakeLearning()
    monkeypatch.setattr(learning, "Learning", lambda session, begin: fake)
    return fake


@pytest.fixture
def notebook_shell(monkeypatch):
    shell = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", shell)


def test_a_notebook_shows_the_page_in_a_frame(no_learner, notebook_shell):
    page = ct.view("images", out="s")
    try:
        client = Client(page)
        client.host = f"localhost:{client.port}"
        assert repr(page) == f"contractile at http://localhost:{client.port}/"
        assert page._repr_html_() == (
            f'<iframe src="{page.address.link}" width="100%" height="720" style="border:0"></iframe>'
        )
        assert [one["name"] for one in client.enter().get("/api/session")[1]["images"]] == ["0", "1"]
    finally:
        page.close()
    assert not any(thread.name == "page" for thread in threading.enumerate())
    ct.view("s").close()  # the folder is free again


def test_arrays(no_learner, notebook_shell):
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    labels = np.zeros((20, 30), np.int32)
    labels[2:5, 2:5] = 4
    both = [np.stack([pixels, pixels]), np.stack([pixels, pixels + 1])]
    page = ct.view(both, [labels, labels], out="s")
    client = Client(page)
    client.host = f"localhost:{client.port}"
    found = client.enter().get("/api/session")[1]
    assert [one["objects"] for one in found["images"]] == [1, 1]
    np.testing.assert_array_equal(client.array("/api/images/1/pixels?level=0&y=0&x=0&h=20&w=30")[1][1], pixels + 1)
    page.close()
    ct.view(both, out="s").close()
    with pytest.raises(
        FileExistsError, match=r"image_0001.tif: the session was begun with other arrays; name another f"
    ):
        ct.view([pixels + 1], out="s")
    with pytest.raises(
        ValueError, match=r"images must be \(Y, X\) or \(C, Y, X\), got \(1, 1, 20, 30\); give one array"
    ):
        ct.view(pixels[None, None], out="t")
    with pytest.raises(ValueError, match=r"labels must be \(Y, X\), got \(1, 20, 30\)"):
        ct.view(pixels, labels[None], out="u")


def test_images_of_different_channels_are_not_one_session(capsys):
    tifffile.imwrite("images/2.tif", np.zeros((3, 40, 48), np.uint8), photometric="minisblack", planarconfig="separate")
    told = refused(capsys, "view", "images", "--no-browser")
    assert "must have the same number of channels, got 0: 1, 1: 1, 2: 3; open each kind in a session of its own" in told


def test_what_cannot_be_read_is_left_out(no_learner, notebook_shell, caplog):
    Path("pictures").mkdir()
    for name in ("0", "1", "2"):
        Pillow.fromarray(np.random.default_rng(0).integers(0, 9, (40, 48), np.uint8)).save(f"pictures/{name}.png")
    whole = Path("pictures/2.png").read_bytes()
    Path("pictures/2.png").write_bytes(whole[:200] + bytes(50) + whole[250:])
    page = ct.view("pictures", out="s")
    client = Client(page)
    client.host = f"localhost:{client.port}"
    found = client.enter().get("/api/session")[1]
    assert [one["name"] for one in found["images"]] == ["0", "1"]
    assert "this image is left out" in caplog.text
    page.close()


def test_elsewhere_it_is_served_until_it_ends(no_learner, monkeypatch, capsys):
    monkeypatch.setattr(serving, "has_screen", lambda: False)
    begun = []
    monkeypatch.setattr(
        notebook, "Serving", lambda *args, **more: begun.append(serving.Serving(*args, **more)) or begun[0]
    )
    thread = threading.Thread(target=lambda: begun_when_there(begun))
    thread.start()
    assert ct.view("images", out="s") is None
    thread.join()
    assert capsys.readouterr().out == f"{begun[0].address.link}\n"


def begun_when_there(begun):
    while not begun or not begun[0].wait(0.1):
        time.sleep(0.05)
    begun[0].stop()


# the process of a job


def do(monkeypatch, capsys, job):
    """(status, the lines that it says) of a job that is done in this process."""
    monkeypatch.setattr("contractile.process.end_with_parent", lambda status: None)
    monkeypatch.setattr(os, "nice", lambda by: by, raising=False)
    monkeypatch.setattr("contractile.process.prepare_process", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job) + "\n"))
    status = job_process.main()
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_export(monkeypatch, capsys):
    files = ["images/0.tif", "images/1.tif"]
    job = {"kind": "export", "model": "m.safetensors", "images": files, "out": "out", "save": ["labels", "overlay"]}
    job["total"] = 2
    status, said = do(monkeypatch, capsys, job)
    assert (status, said[-1]) == (0, {"message": "1.tif", "done": 2, "total": 2})
    assert sorted(path.name for path in Path("out").glob("[01]_*")) == [
        "0_labels.tif",
        "0_overlay.png",
        "1_labels.tif",
        "1_overlay.png",
    ]


def test_a_job_reads_no_more_than_the_page_may(monkeypatch, capsys):
    said = []
    monkeypatch.setitem(job_process.DOING, "export", lambda **fields: said.append(limits()))
    do(monkeypatch, capsys, {"kind": "export", "bounds": {"pixels": 1234, "missing": True}})
    assert (said[0].pixels, said[0].missing) == (1234, True)
    assert not limits().missing


def test_a_job_that_is_refused_and_one_with_a_fault(monkeypatch, capsys):
    job = {"kind": "export", "model": "none", "images": ["images/0.tif"], "total": 1, "out": "out", "save": ["labels"]}
    status, said = do(monkeypatch, capsys, job)
    assert (status, said[0]["error"][:22]) == (2, "none: does not exist; ")
    monkeypatch.setitem(job_process.DOING, "export", lambda **fields: 1 / 0)
    status, said = do(monkeypatch, capsys, job)
    assert status == 70
    assert said == [{"error": "this is a fault in contractile, please report it: ZeroDivisionError: division by zero"}]


def test_a_training(monkeypatch, capsys):
    from contractile import report, training

    def train(images, labels, *, out, recipe, progress):
        progress(training.Status(3, 9, 0.25, None))
        expected = {"minutes": 2, "targets": {"task": "objects"}, "axes": "YXC"}
        assert (images, labels, out, recipe) == (["images/0.tif"], "labels", "run", expected)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(report, "write_report", lambda run, data: Path("run/report.html"))
    job = {"kind": "train", "images": ["images/0.tif"], "labels": "labels", "out": "run", "minutes": 2, "axes": "YXC"}
    job |= {"task": "objects", "classes": []}
    status, said = do(monkeypatch, capsys, job)
    report_line = {"message": f"report: {Path('run/report.html')}"}
    assert (status, said) == (0, [{"message": "loss 0.250", "done": 3, "total": 9}, report_line])


def test_a_training_of_classes_names_them_in_the_model_which_a_resumed_run_keeps(monkeypatch, capsys):
    from contractile import training

    real = training.train

    def quick(images, labels, *, out, recipe, progress=None, resume=False):
        changes = {name: value for name, value in {**TINY, **recipe}.items() if name != "minutes"}
        return real(images, labels, out=out, recipe=changes, progress=progress, resume=resume)

    monkeypatch.setattr(training, "train", quick)
    files = {kind: [f"{kind}/{number}.tif" for number in range(2)] for kind in ("images", "labels")}
    Path("labels").mkdir()
    for number, (image, labels) in enumerate(zip(*files.values(), strict=True)):
        one = bright_discs(str(number), number)
        tifffile.imwrite(image, one.pixels[0])
        tifffile.imwrite(labels, np.where(one.labels > 0, 2, 0).astype(np.int32))
    job = {"kind": "train", "images": files["images"], "labels": "labels", "out": "run", "minutes": 1}
    job |= {"task": "classes", "classes": [[0, "sky"], [1, "sea"], [2, "disc"]]}
    status, said = do(monkeypatch, capsys, job)
    assert (status, said[-1]["message"]) == (0, f"report: {Path('run', 'report.html')}")
    assert (load("run").card.class_values, load("run").card.class_names) == ((0, 2), ("sky", "disc"))
    assert "sky" in Path("run/report.html").read_text(encoding="utf-8")
    again = quick(files["images"], "labels", out="run", recipe={"targets": {"task": "classes"}}, resume=True)
    assert load("run").card.class_names == again.model.card.class_names == ("sky", "disc")


# labels of all layouts


@pytest.mark.parametrize("layout", ["nnU-Net", "Data Science Bowl", "two sequences", "sequences of other frames"])
def test_a_session_begins_with_labels_and_its_own_pair_with_its_images(tmp_path, no_learner, monkeypatch, layout):
    told = []
    monkeypatch.setattr(Jobs, "train", lambda self, training, after: told.append(training) or 1)
    fill(tmp_path / "data", LAYOUTS[layout])
    opening = open_places("data", out="s")
    with serving.opened(opening) as shown:
        names = [page.name for page in shown.session.pages]
        assert names == [source.name for source in opening.sources]
        assert all(shown.session.objects(image) for image in range(len(names)))
        last = len(names) - 1
        number = shown.session.act(Paint(image=last, points=[(37, 40)], radius=2, value="new")).number
        Asked(shown).train({"minutes": 1})
    assert sorted(path.stem for path in Path("s/labels").glob("*.tif")) == sorted(names)
    pairs = pair_up(told[0].images, told[0].labels)
    assert {pair.image.files: pair.labels.path.stem for pair in pairs} == {
        source.files: name for source, name in zip(opening.sources, names, strict=True)
    }
    with serving.opened(open_places("s")) as shown:
        assert [page.name for page in shown.session.pages] == names
        assert number in shown.session.objects(last)
        assert shown.session.can_undo


def test_the_learner_is_told_the_names_of_classes_that_somebody_gave(no_learner, monkeypatch):
    from contractile.viewer import learning

    begun = []
    monkeypatch.setattr(learning, "Learning", lambda session, begin: begun.append(begin) or no_learner)
    for out, classes, task in (("a", "membrane,inside", None), ("b", None, "classes"), ("c", None, "objects")):
        for _ in range(2):
            with serving.opened(open_places("images", out=out, classes=classes, task=task)):
                pass
    with serving.opened(open_places("a")):
        pass
    names = [("membrane", "inside"), (), ()]
    assert [one.class_names for one in begun] == [name for name in names for _ in range(2)] + names[:1]


def test_a_job_ends_with_whoever_began_it():
    code = "import time; from contractile.viewer import job_process as p; "
    code += "p.DOING['wait'] = lambda: time.sleep(60); p.main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    process.stdin.write(b'{"kind": "wait"}\n')
    process.stdin.flush()
    time.sleep(1)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(20) == 2
