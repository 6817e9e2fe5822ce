"""The commands of the command line as a page: each with its arguments and options, as the program itself knows them."""

from __future__ import annotations

import re
from typing import Any

import typer.main

from contractile.cli import app

TITLE = "Commands"
INTRODUCTION = """
Every command prints its options with `--help`. A value in square brackets, such as `[10]`, is taken where the option
is left out. A command ends with status 0 when it is done, 1 when the work could not be finished, 2 when the call was
wrong (one line says what to change), and 70 for a fault of contractile.

`IMAGES` and `LABELS` are each a folder, a pattern in quotes such as `"images/*.tif"`, one file, or a stack of pages.
"""


def page() -> str:
    """The page of all commands, as Markdown."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    index = [f"| [`{name}`](#contractile-{name}) | {_first_sentence(one.help)} |" for name, one in commands.items()]
    parts = [f"# {TITLE}", INTRODUCTION.strip(), "\n".join(["| command | what it does |", "|---|---|", *index])]
    parts += [_describe(name, command) for name, command in commands.items()]
    return "\n\n".join(parts) + "\n"


def _describe(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option" and "--help" not in one.opts]
    needed = [f"{one.opts[0]} {_placeholder(one)}" for one in options if one.required]
    words = [_bracketed(one) for one in arguments] + needed
    usage = " ".join(["contractile", name, *words, "[OPTIONS]"])
    parts = [f"## contractile {name}", _paragraphs(command.help), f"```text\n{usage}\n```"]
    if arguments:
        rows = [f"| `{_word(one)}` | {_cell(one.help)} |" for one in arguments]
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]))
    if options:
        rows = [f"| {_switch(one)} | {_cell(one.help)}{_default(one)} |" for one in options]
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()) + (
        "..." if argument.nargs == -1 and "..." not in (argument.metavar or "") else ""
    )


def _bracketed(argument: Any) -> str:
    return _word(argument) if argument.required else f"[{_word(argument)}]"


def _placeholder(option: Any) -> str:
    return str(option.opts[0]).lstrip("-").replace("-", "_").upper()


def _switch(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{_placeholder(option)}`"


def _default(option: Any) -> str:
    """The default, where the text of the option does not name it already; needed options are said to be so."""
    if option.required:
        return " (must be given)"
    if option.is_flag or option.default in (None, "") or "[" in (option.help or ""):
        return ""
    return f" [{option.default}]"


def _cell(text: str | None) -> str:
    """A text that stays in its cell, with the names of options as code."""
    escaped = (text or "").replace("|", "\\|").replace("\n", " ")
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", escaped)


def _paragraphs(text: str | None) -> str:
    return _cell_lines((text or "").strip())


def _cell_lines(text: str) -> str:
    return "\n\n".join(_cell(" ".join(part.split())) for part in text.split("\n\n"))


def _first_sentence(text: str | None) -> str:
    return _cell(re.split(r"(?<=[.!?])\s", (text or "").strip(), maxsplit=1)[0])
