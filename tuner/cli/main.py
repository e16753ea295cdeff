"""The `tuner` command: a table of commands, loaded when called, and the mapping of errors to exit codes.

Command modules import click, the standard library and tuner's layer 0 at their top, and everything else inside
the command, so that `tuner --help` and `tuner status` answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from tuner.cli.output import exit_code, lasting_output
from tuner.errors import NO_MEMORY, StorageError, TunerError, is_out_of_memory
from tuner.paths import LinkInStudyError

COMMANDS = {
    "init": "tuner.cli.init:init",
    "check": "tuner.cli.check:check",
    "lr-find": "tuner.cli.lr_find:lr_find",
    "run": "tuner.cli.run:run",
    "ls": "tuner.cli.ls:ls",
    "status": "tuner.cli.status:status",
    "show": "tuner.cli.show:show",
    "logs": "tuner.cli.show:logs",
    "note": "tuner.cli.note:note",
    "report": "tuner.cli.report:report",
    "best": "tuner.cli.best:best",
    "predict": "tuner.cli.predict:predict",
    "test": "tuner.cli.test:test",
    "confirm": "tuner.cli.confirm:confirm",
    "learning-curve": "tuner.cli.learning_curve:learning_curve",
    "refine": "tuner.cli.refine:refine",
    "compare": "tuner.cli.compare:compare",
    "watch": "tuner.cli.watch:watch",
    "dashboard": "tuner.cli.dashboard:dashboard",
    "doctor": "tuner.cli.doctor:doctor",
    "schema": "tuner.cli.schema:schema",
}
"""Each command, in the order of the help, and where it lies."""


class _LazyGroup(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module_name), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tuner", prog_name="tuner")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Find good hyperparameters for PyTorch models.

    Start with `tuner init`, then `tuner run SWEEP`. The same command continues a sweep that was interrupted.

    Exit codes: 0 done; 1 no usable trial, or an unforeseen error; 2 usage; 3 bad sweep file or data; 4 study not
    found or does not match; 5 storage unusable; 6 user code failed to import; 7 failure limit; 8 head of the Ray
    cluster lost; 128 and the number of the signal that ended it: 129 SIGHUP, 130 Ctrl-C, 138 SIGUSR1, 143 SIGTERM.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    with lasting_output() as output:
        code = run_command_line(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        code = exit_code(code, output)
    sys.exit(code)


def run_command_line(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed to stderr."""
    try:
        result = cli.main(args=arguments, prog_name="tuner", standalone_mode=False, obj=tuple(arguments))
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.message = _hidden(error.message, arguments)  # type: ignore[misc]
        error.show()
        return error.exit_code
    except TunerError as error:
        if "--debug" in arguments:
            raise
        _say(str(error), arguments)
        return error.exit_code
    except LinkInStudyError as error:
        _say(str(error), arguments)
        return StorageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except OSError as error:
        if "--debug" in arguments or error.filename is None:
            raise
        _say(f"{os.fsdecode(error.filename)}: {error.strerror or error}", arguments)
        return StorageError.exit_code
    except (MemoryError, ImportError, RuntimeError) as error:
        if "--debug" in arguments or not is_out_of_memory(error):
            raise
        _say(NO_MEMORY, arguments)
        return TunerError.exit_code


def _say(error: str, arguments: Sequence[str]) -> None:
    """Print an error, with nothing in it that a terminal obeys, and no password."""
    from tuner.report.words.escape import visible_lines

    click.echo(f"{click.style('error:', fg='red', bold=True)} {visible_lines(_hidden(error, arguments))}", err=True)


def _hidden(text: str, arguments: Sequence[str]) -> str:
    """The text without the passwords in it: those of the command line are known as they were typed, spaces and all."""
    from tuner.store.locations import hide_password, hide_passwords

    for argument in arguments:
        text = text.replace(argument, hide_password(argument)) if "://" in argument else text
    return hide_passwords(text)


if __name__ == "__main__":
    main()
