"""The tools that gather, adapt and check the site of the documentation; its build itself is `make docs`."""

import json
import tomllib
from pathlib import Path

import pytest
from docs.tools import links, notebook, site

ROOT = site.ROOT
SCRIPT = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # A title
#
# Some words.

# %%
import matplotlib.pyplot as plt

number = 6 * 7
print(number)

# %%
plt.plot([number])
plt.show()
"""


def test_the_menu_names_every_page_once():
    def pages(entries):
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else pages(value)

    menu = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    gathered = sorted(target for target in site.places().values() if target.endswith(".md"))
    assert sorted(menu) == gathered


def test_all_pages_are_gathered_and_links_between_them_hold(tmp_path):
    site.gather(tmp_path / "pages", run=False)
    for target in site.places().values():
        page = tmp_path / "pages" / target
        assert page.stat().st_size
        if page.suffix == ".md":
            for _, address in site.LINK.findall(page.read_text(encoding="utf-8")):
                named = address.partition("#")[0]
                assert "://" in address or not named or (page.parent / named).is_file(), (target, address)


def test_links_follow_the_files():
    known = {"docs/a.md": "a.md", "docs/b/c.md": "b/c.md", "ARCHITECTURE.md": "architecture.md"}
    text = "[x](../../ARCHITECTURE.md#y) [z](../a.md) [w](https://example.org) [v](#here)\n\n[t]: c.md\n"
    moved = "[x](../architecture.md#y) [z](../a.md) [w](https://example.org) [v](#here)\n\n[t]: c.md\n"
    assert site.relink(text, "docs/b/c.md", known) == moved
    assert site.relink("```\n[x](none.md)\n```", "docs/a.md", known) == "```\n[x](none.md)\n```"
    with pytest.raises(KeyError, match=r"docs/none\.md"):
        site.relink("[x](none.md)", "docs/a.md", known)


def test_lists_are_written_as_python_markdown_reads_them():
    assert site.adapt("Title:\n- one\n- two\n") == "Title:\n\n- one\n- two\n"
    assert site.adapt("- one\n  more\n\n  | a |\n\nEnd\n") == "- one\n    more\n\n    | a |\n\nEnd\n"
    assert site.adapt("```\nx\n- y\n```\n") == "```\nx\n- y\n```\n"
    assert site.adapt("1. one\n2. two\n\n    code\n") == "1. one\n2. two\n\n    code\n"


def test_a_script_becomes_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook.render(SCRIPT, Path("page.md"), run=True, downloads="Here: x")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# A title\n\nSome words.\n\nHere: x\n\n```python\nimport matplotlib")
    assert "```text\n42\n```" in text
    assert "![picture 1](page-1.png)" in text
    assert (tmp_path / "page-1.png").read_bytes().startswith(b"\x89PNG")


def test_a_script_becomes_a_notebook():
    pytest.importorskip("jupytext")
    made = json.loads(notebook.convert(SCRIPT))
    assert [cell["cell_type"] for cell in made["cells"]] == ["markdown", "code", "code"]


def test_the_tutorial_runs(tmp_path):
    text = (ROOT / "docs/tutorial.py").read_text(encoding="utf-8")
    short = text.replace('"steps": 120', '"steps": 3').replace("shape=(128, 128)", "shape=(64, 64)")
    assert short.count('"steps": 3') == short.count("shape=(64, 64)") == 1
    notebook.render(short, tmp_path / "tutorial.md", run=True)
    shown = (tmp_path / "tutorial.md").read_text(encoding="utf-8")
    assert "cells found" in shown
    assert "iou: " in shown
    assert (tmp_path / "tutorial-2.png").is_file()


def faults(folder, html, **files):
    (folder / "index.html").write_text(html, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return list(links.faults(folder))


def test_a_sound_site_has_no_fault(tmp_path):
    html = '<h1 id="a">x</h1><a href="#a">x</a><a href="other.html#b">x</a><a href="https://example.org">x</a>'
    assert not faults(tmp_path, html + '<img src="data:image/png;base64,">', other_html='<h1 id="b">x</h1>')


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="none.html">x</a>', "none.html leads nowhere"),
        ('<a href="#none">x</a>', "#none has no such heading"),
        ('<a href="other.html#none">x</a>', "other.html#none has no such heading"),
        ('<img src="none.png">', "none.png leads nowhere"),
        ('<img src="https://example.org/a.png">', "loads https://example.org/a.png"),
        ('<script src="//example.org/a.js"></script>', "loads //example.org/a.js"),
        ('<link rel="stylesheet" href="https://example.org/a.css">', "loads https://example.org/a.css"),
    ],
)
def test_faults_of_a_site_are_named(tmp_path, html, fault):
    assert faults(tmp_path, html, other_html="") == [f"index.html: {fault}"]


def test_styles_that_load_from_elsewhere_are_named(tmp_path):
    styles = '@import "https://example.org/b.css"; p { background: url(https://example.org/a.png) }'
    assert sorted(faults(tmp_path, "", a_css=styles)) == [
        "a.css: loads https://example.org/a.png",
        "a.css: loads https://example.org/b.css",
    ]


def test_an_empty_site_is_a_fault(tmp_path):
    assert list(links.faults(tmp_path)) == [f"{tmp_path}: holds no page"]
