"""The files of the local page, read as text: what they may hold, and what they may never hold."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import contractile

PAGE = Path(contractile.__file__).parent / "viewer" / "page"
FILES = sorted(file for file in PAGE.iterdir() if file.is_file())
MODULES = [file for file in FILES if file.suffix == ".js"]
LONGEST = 300  # lines of a module
STANDARD = "http://www.w3.org/"  # names of formats: nothing is loaded from there
UNSAFE = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc")


class Tags(HTMLParser):
    """All tags of the page with their attributes, and what stands within scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inline += data.strip()


def tags() -> list[tuple[str, dict[str, str | None]]]:
    return Tags((PAGE / "index.html").read_text("utf-8")).tags


def actions() -> list[tuple[str, list[str]]]:
    """The actions of keys.js: name and keys."""
    lines = re.findall(r'\{ id: "([\w-]+)", keys: \[(.+?)\], group: "\w+", text: ".+?" \}', read("keys.js"))
    return [(name, re.findall(r'"([^"]+)"', keys)) for name, keys in lines]


def read(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def test_all_files_are_of_kinds_that_the_server_gives() -> None:
    assert {file.suffix for file in FILES} == {".html", ".css", ".js", ".svg"}
    assert {"index.html", "style.css", "main.js", "icon.svg"} <= {file.name for file in FILES}


def test_what_the_page_names_is_there() -> None:
    named = [value for _, have in tags() for name, value in have.items() if name in ("src", "href") and value]
    files = [value for value in named if not value.startswith("#")]
    assert "page/main.js" in files
    assert all((PAGE / value.removeprefix("page/")).is_file() and value.startswith("page/") for value in files)


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name)
def test_a_module_imports_only_names_that_its_neighbours_export(module: Path) -> None:
    text = module.read_text("utf-8")
    for names, neighbour in re.findall(r'import \{([^}]+)\} from "([^"]+)"', text):
        assert neighbour.startswith("./")
        exported = exports((PAGE / neighbour).read_text("utf-8"))
        assert {name.strip() for name in names.split(",") if name.strip()} <= exported
    assert len(re.findall(r"^import ", text, re.M)) == len(re.findall(r'^import .+ from "\./\w+\.js";', text, re.M))


def exports(text: str) -> set[str]:
    direct = re.findall(r"^export (?:async )?(?:function|const|let|class) (\w+)", text, re.M)
    renamed = re.findall(r"^export \{ \w+ as (\w+) \}", text, re.M)
    return {*direct, *renamed}


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name)
def test_every_module_is_reached_and_short(module: Path) -> None:
    assert len(module.read_text("utf-8").splitlines()) <= LONGEST
    others = [file for file in MODULES if file != module]
    assert module.name == "main.js" or any(f'"./{module.name}"' in file.read_text("utf-8") for file in others)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_comes_from_other_hosts(file: Path) -> None:
    text = file.read_text("utf-8").replace(STANDARD, "")
    assert not re.search(r"https?:|\bwss?:|url\(\s*['\"]?//|[\"'`]//|@import|importScripts|sendBeacon|WebSocket", text)


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name)
def test_names_from_files_are_text_and_never_markup(module: Path) -> None:
    text = module.read_text("utf-8")
    assert not [word for word in UNSAFE if word in text]
    assert not re.search(r"setAttribute\(\s*[\"']style|cssText|setAttribute\(\s*[\"']on", text)


def test_the_page_has_no_scripts_or_styles_within_it() -> None:
    page = Tags(read("index.html"))
    assert page.inline == ""
    assert not [name for _, have in page.tags for name in have if name == "style" or name.startswith("on")]
    assert not [have for tag, have in page.tags if tag == "script" and not have.get("src")]


def test_each_key_does_one_thing() -> None:
    found = actions()
    assert len(found) == read("keys.js").count("{ id: ")
    keys = [key for _, own in found for key in own]
    assert len(keys) == len(set(keys))
    names = [name for name, _ in found]
    assert len(names) == len(set(names))


def test_every_action_is_done_and_is_in_the_list_of_keys() -> None:
    main, keys = read("main.js"), read("keys.js")
    table = main[main.index("const run = {") : main.index("function connect")]
    layers = re.findall(r"^    (\w+): \{ on:", read("state.js"), re.M)
    tools = re.findall(r'"(\w+)"', re.search(r"for \(const tool of \[(.+?)\]\)", main)[1])  # type: ignore[index]
    done = {*re.findall(r'^  "?([\w-]+)"?(?::|,$)', table, re.M), *tools, *(f"layer-{layer}" for layer in layers)}
    assert {name for name, _ in actions()} <= done
    groups = set(re.findall(r"(\w+): \"", re.search(r"const GROUPS = \{(.+?)\}", keys)[1]))  # type: ignore[index]
    assert set(re.findall(r'group: "(\w+)"', keys)) == groups


def test_every_button_of_the_page_does_something_and_has_a_name() -> None:
    main = read("main.js")
    asked = {have["data-do"] for _, have in tags() if "data-do" in have}
    known = {name for name, _ in actions()} | {"restart"}
    assert asked <= known
    assert re.search(r"^  restart,$", main, re.M)


def test_all_elements_that_modules_look_for_exist_once() -> None:
    ids = [have["id"] for _, have in tags() if have.get("id")]
    assert len(ids) == len(set(ids))
    wanted = {name for module in MODULES for name in re.findall(r'\bfind\("([\w-]+)"\)', module.read_text("utf-8"))}
    assert wanted <= set(ids)
