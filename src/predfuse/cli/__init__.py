"""The ``predfuse`` command: one table of commands; the module of a command is imported when the command is run.

In come arguments of the command line, out go tables, files and exit codes; all work is done by the library.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from predfuse import __version__
from predfuse.errors import InputError, PredfuseError

NETWORKS, PROGRAMS, MACHINES, EXPERIMENTS, DATA = "Networks", "Programs", "Machines", "Experiments", "Data"


class Entry(NamedTuple):
    """A command: ``module:attribute`` of its function (or of the Typer of its sub-commands), panel and short help."""

    place: str
    panel: str
    help: str


COMMANDS = {
    "trace": Entry("trace:trace", NETWORKS, "Turn a PyTorch model into a network file, verified, with a ledger."),
    "analyze": Entry("analyze:analyze", NETWORKS, "Say what fusion would buy on a network, block by block."),
    "train": Entry("train:train", NETWORKS, "Train a network: vanilla, then pruned, then predicted."),
    "prune": Entry("prune:prune", NETWORKS, "Remove the smallest weights of a network's blocks."),
    "prepare": Entry("prepare:prepare", NETWORKS, "Give a trained network predictors, without labels."),
    "evaluate": Entry("evaluate:evaluate", NETWORKS, "Accuracy of networks on a test set."),
    "export": Entry("export:export", NETWORKS, "Export a network for other runtimes, checked."),
    "compile": Entry("compile:compile_command", PROGRAMS, "Compile a network to integers, fused blocks."),
    "run": Entry("run:run", PROGRAMS, "Run a program on images, bit for bit."),
    "simulate": Entry("simulate:simulate", MACHINES, "Cycles and energy of a network or program on an accelerator."),
    "accelerators": Entry("accelerators:commands", MACHINES, "List the accelerators, or show one."),
    "rtl": Entry("rtl:commands", MACHINES, "Run or write the gateware of a machine for a program."),
    "explore": Entry("explore:explore", MACHINES, "Search over fields of machines and options of networks."),
    "demo": Entry("demo:demo", EXPERIMENTS, "Classify real images plain, pruned, predicted and fused."),
    "compare": Entry("compare:compare", EXPERIMENTS, "Accuracy, cycles, energy and area: dense, sparse, fused."),
    "reproduce": Entry("reproduce:commands", EXPERIMENTS, "Do published experiments again."),
    "ablate": Entry("ablate:ablate", EXPERIMENTS, "Train variants of a configuration and compare them."),
    "bench": Entry("bench:bench", EXPERIMENTS, "Time this installation against limits."),
    "zoo": Entry("zoo:commands", DATA, "List and check the trained networks, or take a finished run in."),
    "data": Entry("data:commands", DATA, "List, fetch and check data sets."),
}
"""All commands in the order in which the help shows them."""
_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def load(name: str) -> Any:
    """The real command called ``name``, its module imported."""
    from predfuse.cli.option_groups import expand_all

    module, _, attribute = COMMANDS[name].place.partition(":")
    target = getattr(importlib.import_module(f"predfuse.cli.{module}"), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    expand_all(target)
    target.pretty_exceptions_enable = False
    command = typer.main.get_command(target)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that shows the table in its help, and imports only the command it runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_help_panel=entry.panel), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that ``args`` name, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


app = typer.Typer(
    name="predfuse",
    cls=LazyGroup,
    help="Predictive layer fusion: train, fuse, count, simulate and compare convolutional networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is being done (also after the command)."),
) -> None:
    """Predictive layer fusion: train, fuse, count, simulate and compare convolutional networks."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    from rich.logging import RichHandler

    from predfuse.report.terminal import console

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(
        level=level, format="%(message)s", handlers=[RichHandler(console=console(stderr=True), show_path=False)]
    )


def in_one_line(error: Exception) -> PredfuseError | None:
    """What the machine, not the user or the program, is to blame for; None of anything else, which is a fault of ours.

    The last fence: readers and writers name the file and what to do more closely.
    """
    if isinstance(error, OSError):
        where = str(error.filename or "the system")
        mend = "make room" if error.errno in _FULL else "check the path, its permissions and the space left"
        if error.errno in _PATHS:
            return InputError(where, error.strerror or str(error), mend)
        return PredfuseError(f"{where}: {error.strerror or error}; {mend}")
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        return PredfuseError("memory: there is not enough; use a smaller network, or fewer or smaller images")
    if isinstance(error, RecursionError):
        return PredfuseError("recursion: something given is nested too deeply; give a simpler one")
    return None


def _verbose_first(arguments: list[str]) -> list[str]:
    """``-v`` and ``--verbose`` before the command, wherever they were said."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    said = [argument in ("-v", "--verbose") for argument in arguments[:end]]
    rest = [argument for argument, verbose in zip(arguments, said, strict=False) if not verbose] + arguments[end:]
    return ["--verbose", *rest] if any(said) else arguments


def main() -> None:
    """Run the command line; user mistakes end in one line on standard error and exit code 2, failed work in 1."""
    if os.environ.get("NO_COLOR"):
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None  # no bold either
    try:
        try:
            app(_verbose_first(sys.argv[1:]))
        finally:
            sys.stdout.flush()  # here, where a full disk can still be told
    except (PredfuseError, OSError, MemoryError, RecursionError, RuntimeError) as error:
        told = error if isinstance(error, PredfuseError) else in_one_line(error)
        if told is None:
            raise
        typer.echo("predfuse: error: " + "\n".join(told.lines()), err=True)
        sys.exit(told.exit_code)
    except KeyboardInterrupt:
        typer.echo("predfuse: cancelled", err=True)
        sys.exit(130)
