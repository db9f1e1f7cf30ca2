"""The command line: `qir`, a command a file, and `qir-opt`, the one most used."""

import errno
import sys

import click

from .. import __version__
from ..errors import QirError
from .bench import bench
from .bisect import bisect
from .compare import compare
from .diff import diff
from .evaluate import evaluate
from .explain import explain
from .listing import passes, pipelines, targets
from .messages import diagnostics_option, tell, told_as, wanted_format
from .models import quantize, run
from .opt import opt
from .reduce import reduce
from .translate import translate
from .tune import tune

COMMANDS = (opt, quantize, run, bench, tune, evaluate, compare, explain, bisect, diff, reduce,
            translate, passes, pipelines, targets)  # fmt: skip
OK, USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 130
for _command in COMMANDS:
    _command.params.append(diagnostics_option)

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
    words = sys.argv[1:] if arguments is None else arguments
    with told_as(wanted_format(words)):
        return _status(command, words, name)


def _status(command: click.Command, words: list[str], name: str) -> int:
    try:
        return command.main(words, prog_name=name, standalone_mode=False) or OK
    except click.ClickException as error:
        if wanted_format(words) == "json":
            tell(error)
        else:
            error.show()
        return USER_ERROR
    except QirError as error:
        tell(error)
        return USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone; there is nobody to tell
        return OK
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            tell(QirError("cannot write the output: the device is full"))
            return USER_ERROR
        tell(error, "internal")
        return INTERNAL_ERROR
