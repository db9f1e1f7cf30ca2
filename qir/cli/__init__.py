"""The command line: `qir`, a command a file, and `qir-opt`, the one most used."""

import errno
import sys
import traceback

import click

from .. import __version__
from ..errors import QirError
from .bench import bench
from .bisect import bisect
from .listing import passes, pipelines, targets
from .models import quantize, run
from .opt import opt
from .reduce import reduce

COMMANDS = (opt, quantize, run, bench, bisect, reduce, passes, pipelines, targets)
OK, USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 130

cli = click.Group(
    "qir",
    {command.name: command for command in COMMANDS},
    help="A quantization compiler made of passes, rules and one notation.",
    no_args_is_help=True,
)
cli = click.version_option(__version__, prog_name="qir")(cli)


def main(arguments: list[str] | None = None) -> None:
    """The `qir` command; ends the process with 0, 1 (a user's error) or 2 (a bug)."""
    sys.exit(status(cli, arguments, "qir"))


def main_opt(arguments: list[str] | None = None) -> None:
    """The `qir-opt` command: `qir opt` under a name of its own."""
    sys.exit(status(opt, arguments, "qir-opt"))


def status(command: click.Command, arguments: list[str] | None, name: str) -> int:
    """Run a command and give its exit code; what went wrong is on stderr."""
    try:
        return command.main(arguments, prog_name=name, standalone_mode=False) or OK
    except click.ClickException as error:
        error.show()
        return USER_ERROR
    except QirError as error:
        click.echo(str(error), err=True)
        return USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone; there is nobody to tell
        return OK
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            click.echo("error: cannot write the output: the device is full", err=True)
            return USER_ERROR
        from ..reproducer import raised_in

        traceback.print_exc()
        click.echo(f"error: this is a bug in qir, {type(error).__name__} in {raised_in(error)}; "
                   "please report it with the lines above", err=True)  # fmt: skip
        return INTERNAL_ERROR
