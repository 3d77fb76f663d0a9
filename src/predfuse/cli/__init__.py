"""The ``predfuse`` command: the modules of this package add its commands in ``register(app)``."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

from predfuse import __version__
from predfuse.errors import PredfuseError

app = typer.Typer(
    name="predfuse",
    help="Predictive layer fusion: train, fuse, count, simulate and compare convolutional networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is being done."),
) -> None:
    """Options that come before the command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


def main() -> None:
    """Run the command line; user mistakes end in one line on standard error and exit code 2, failed work in 1."""
    try:
        app()
    except PredfuseError as error:
        typer.echo(f"predfuse: error: {' '.join(str(error).split())}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("predfuse: cancelled", err=True)
        sys.exit(130)


for _name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    _module = importlib.import_module(f"predfuse.cli.{_name}")
    if hasattr(_module, "register"):
        _module.register(app)
