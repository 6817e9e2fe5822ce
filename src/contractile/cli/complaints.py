"""What is said about a call that the parser refuses: the option, the rule, the value and the cure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from contractile.errors import ContractileError, nearest, shown

EXAMPLES = {
    "train": "images labels --out run",
    "predict": "nuclei images --out results",
    "evaluate": "results labels",
    "check": "images labels",
    "seams": "nuclei image.tif",
    "view": "images --out session",
    "info": "images",
    "export": "run --to onnx --out model.onnx",
    "import": "checkpoint.pth --out model.safetensors",
    "demo": "--out demo",
}
PLACES = ("--out", "--fix", "--json", "--against", "--val-images", "--val-labels")
VALUES = {"--minutes": "10", "--steps": "500", "--val-fraction": "0.1", "--tile": "512", "--dims": "2"}
VALUES |= {"--max-pixels": f"{2**28}", "--scale": "0.5"}  # of all others: 1


def refuse_empty(words: Sequence[str]) -> None:
    """Raise ContractileError for a word without letters: the name of a folder that a variable of the shell lacks."""
    for number, word in enumerate(words):
        option = word.startswith("--") and word.endswith("=")
        if word.strip() and not option:
            continue
        before = words[number - 1] if number else ""
        name = word.removesuffix("=") if option else before if before.startswith("--") else "a word of the call"
        place = name in PLACES or not name.startswith("--")
        cure = "name a file or folder (. is the working folder)" if place else "give a value, or leave it out"
        raise ContractileError(f"{name} must not be empty, got ''", cure)


def explain_wrong_call(message: str, words: Sequence[str], files: Sequence[str] = ()) -> str:
    """A complaint of the parser, with a cure; `files` are words that were taken for options and are files."""
    verb = next((word for word in words if word in EXAMPLES), None)
    example = f"contractile {verb} {EXAMPLES[verb]}" if verb else "contractile --help"
    problem = re.split(r" \(Possible| \(Did you| Did you mean", message)[0].rstrip(".")
    if files:
        return f"{problem}; {files[0]} is a file: write ./{files[0]}, since an option begins with - too"
    if message.startswith("Missing"):
        return f"{problem}; for example: {example}"
    if found := re.search(r"Invalid value for '(--[\w-]+)'", message):
        return _explain_value(found[1], message, words)
    if found := re.search(r"No such command '(.*)'", problem):
        match = nearest(found[1], EXAMPLES)
        return f"{problem}; {f'write {match}' if match else f'the verbs are {chr(44).join(EXAMPLES)}'}"
    if found := re.search(r"No such option: (\S+)", problem):
        match = nearest(found[1], re.findall(r"--[\w-]+", message[len(problem) :]))
        return f"{problem}; {f'write {match}' if match else f'see {_help(verb)}'}"
    if found := re.search(r"Option '(\S+)' does not take a value", problem):
        return f"{problem}; write {found[1]} alone"
    return (
        f"{problem}; for example: {example}" if "requires an argument" in problem else f"{problem}; see {_help(verb)}"
    )


def _explain_value(option: str, message: str, words: Sequence[str]) -> str:
    kind = "a whole number" if "integer" in message else "a number"
    values = [after for word, after in pairwise(words) if word == option]
    values += [word.split("=", 1)[1] for word in words if word.startswith(f"{option}=")]
    got = f", got {shown(values[-1])}" if values else ""
    return f"{option} must be {kind}{got}; give e.g. {option} {VALUES.get(option, '1')}"


def _help(verb: str | None) -> str:
    return f"contractile {verb} --help" if verb else "contractile --help"
