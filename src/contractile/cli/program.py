"""The program around the verbs: what the process needs, and how each kind of end looks."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from contractile.cli.complaints import refuse_empty
from contractile.cli.display import Lines, visible
from contractile.cli.exporting import export, import_
from contractile.cli.looking import check, info
from contractile.cli.predicting import predict
from contractile.cli.scoring import evaluate
from contractile.cli.seams import seams
from contractile.cli.signals import SIGNALLED, ended_by_signals
from contractile.cli.training import demo, train
from contractile.cli.viewing import view
from contractile.cli.words import NOT_FINISHED, WRONG_CALL, explain_wrong_call
from contractile.errors import ContractileError, NotFinished, NotFound, NotWritable
from contractile.process import prepare_process

OUR_FAULT, INTERRUPTED = 70, 130

logger = logging.getLogger(__name__)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
MORE_WORDS = {"allow_extra_args": True}  # the verb itself says what is wrong with them

app.command(context_settings=MORE_WORDS)(train)
app.command()(predict)
app.command(context_settings=MORE_WORDS)(evaluate)
app.command(context_settings=MORE_WORDS)(check)
app.command()(info)
app.command()(demo)
app.command(context_settings=MORE_WORDS)(seams)
app.command(context_settings=MORE_WORDS)(view)
app.command()(export)
app.command("import")(import_)


def show_version(asked: bool) -> None:
    """Print the version, of this package alone, and end."""
    if asked:
        from importlib.metadata import version

        typer.echo(f"contractile {version('contractile')}")
        raise typer.Exit


@app.callback()
def program(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="show the log, and where an error arose; may also stand after the command")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and end", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Train a U-Net from a handful of annotated microscopy images; segment images of any size without a seam."""
    ours = logging.getLogger("contractile")
    ours.setLevel(logging.INFO)
    ours.handlers = [Lines(verbose)]
    try:
        os.getcwd()
    except FileNotFoundError:  # libraries would crash later, far from the cause
        raise NotFound("the working folder is not there any more", "change to another folder (cd)") from None


def main() -> None:
    """Run a command and end the process with its status.

    0: done. 1: the work could not be finished, for want of memory or disk space, say. 2: the call was wrong. 70: a
    fault of this package, with its traceback. 130: stopped with Ctrl-C; 143 (129): by SIGTERM (SIGHUP).
    """
    with ended_by_signals():
        _run()


def _run() -> NoReturn:
    prepare_process()
    _print_any_name()
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    words = sorted(sys.argv[1:], key=lambda word: word != "--verbose")  # an option of the program, not of a verb
    notes: list[str] = []
    try:
        refuse_empty(words)
        status = app(words or ["--help"], standalone_mode=False) or 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as stop:  # by a signal
        status = stop.code if isinstance(stop.code, int) else OUR_FAULT
        notes = getattr(stop, "__notes__", notes)
    except (NotFinished, NotWritable) as error:
        _fail(str(error), NOT_FINISHED)
    except ContractileError as error:
        _fail(str(error), WRONG_CALL)
    except (MemoryError, OSError) as error:
        _fail(str(error) or "out of memory", NOT_FINISHED)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own complaints about the call
            _fail(explain_wrong_call(error.format_message(), words), WRONG_CALL)
        traceback.print_exc()
        _fail("this is a fault in contractile, please report it with the lines above", OUR_FAULT)
    if status > SIGNALLED:
        training = "train" in [word for word in words if word != "--verbose"][:1]
        generic = "stopped; the same command with --resume continues a run that has begun" if training else "stopped"
        gc.freeze()  # Python would look for garbage among all of PyTorch's objects, which takes seconds
        _fail(" ".join(notes) or generic, status)
    sys.exit(status)


def _print_any_name() -> None:
    """Let names of files that the terminal has no letters for be printed with escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _fail(message: str, status: int) -> NoReturn:
    logger.info("the traceback:", exc_info=status in (NOT_FINISHED, WRONG_CALL))
    typer.echo(f"contractile: {visible(' '.join(message.split()))}", err=True)
    sys.exit(status)
