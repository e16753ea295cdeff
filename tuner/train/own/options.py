"""The options of a user's Python script, as its own `argparse` parser knows them: it is started, and not run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tuner.errors import UserCodeError
from tuner.spec.edit.command_starter import Option

_SECONDS = 120.0
_MARK = "tuner's look at the options: "
_LOOK = """
import argparse, json, os, runpy, sys

def look(parser, *args, **kwargs):
    found = []
    for action in parser._actions:
        flags = [f for f in action.option_strings if f.startswith("--")] or action.option_strings
        if not flags or isinstance(action, argparse._HelpAction):
            continue
        plain = lambda v: v if isinstance(v, (bool, int, float, str)) else None
        default = plain(action.default)
        if isinstance(default, str) and action.type in (int, float):
            default = action.type(default)
        if isinstance(default, int) and not isinstance(default, bool) and action.type is float:
            default = float(default)
        choices = [plain(c) for c in action.choices or ()]
        found.append({"flag": flags[0], "name": action.dest, "default": default, "is_switch": action.nargs == 0,
                      "choices": [] if None in choices else choices})
    os.write(1, ("\\n" + MARK + json.dumps(found) + "\\n").encode())
    os._exit(0)

argparse.ArgumentParser.parse_known_args = argparse.ArgumentParser.parse_args = look
target, sys.argv = sys.argv[1], sys.argv[1:]
if target == "-m":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.getcwd())
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(target)))
    runpy.run_path(target, run_name="__main__")
"""
_PYTHONS = ("python", "python3", Path(sys.executable).name)


def options_of(command: str, *, folder: Path) -> list[Option]:
    """The options that a command's script takes, in its own order.

    Args:
        command: `python train.py ...` or `python -m package.train ...`.
        folder: Where it runs.

    Raises:
        UserCodeError: it is no Python script that parses its options by `argparse`.
    """
    remedy = "write the sweep file by hand, as in docs/your-code.md"
    try:
        program, *arguments = shlex.split(command)
    except ValueError as error:
        raise UserCodeError(f"--command cannot be split into arguments ({str(error).lower()})") from error
    if Path(program).name not in _PYTHONS or not arguments:
        raise UserCodeError(f"--command must be `python SCRIPT` or `python -m MODULE`, got {command}; {remedy}")
    if arguments[0] != "-m" and not (folder / arguments[0]).is_file():
        raise UserCodeError(f"--command: there is no file {arguments[0]} in {folder}, where the command runs")
    look = f"MARK = {_MARK!r}\n{_LOOK}"
    try:
        ended = subprocess.run(
            [sys.executable, "-c", look, *arguments], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL,
            text=True, errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserCodeError(f"{command} asked for no options within {_SECONDS:g} s; {remedy}") from None
    found = next((line for line in reversed(ended.stdout.splitlines()) if line.startswith(_MARK)), None)
    if found is None:
        words = ended.stderr.strip().splitlines()[-1:] or ["it ended"]
        raise UserCodeError(f"{command} parses no options by argparse ({words[0]}); {remedy}")
    return [Option(**{**one, "choices": tuple(one["choices"])}) for one in json.loads(found.removeprefix(_MARK))]
