"""The commands that need the extra ``cli``: their command line, read by cyclopts from the functions' signatures."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from arker import _cli
from arker._basics.programs import shell_program
from arker._basics.version import version
from arker._cli import guesses, output, running, statuses
from arker._cli.names import PLAIN


async def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completions for a shell, such as: source <(arker completion bash).

    Args:
        shell: The shell.
    """
    script = make_app(COMMANDS).generate_completion(prog_name="arker", shell=shell)
    # Where there is nothing to say, as for what `cp` copies, bash is to complete the names of files.
    script = script.replace("complete -F _arker arker", "complete -o default -F _arker arker")
    if shell == "zsh":
        # So is zsh, which is told for each argument.
        script = re.sub(r"'([12]):(Where (?:from|to)\.)'", r"'\1:\2:_files'", script)
        end = shell_program(__package__, "completion.zsh")
        script = f"{script.replace('_cyclopts_arker', '_arker').rstrip()}\n\n{end}"
    output.write(script.rstrip() + "\n", foreign=False)
    return statuses.DONE


COMMANDS: Final[Mapping[str, Callable[[], Callable[..., Any]]]] = {
    "fork": lambda: _cli.machines.fork,
    "ls": lambda: _cli.machines.ls,
    "rm": lambda: _cli.machines.rm,
    "snapshot": lambda: _cli.machines.snapshot,
    "run": lambda: _cli.commands.run,
    "shell": lambda: _cli.shell.shell,
    "cp": lambda: _cli.copying.cp,
    "logs": lambda: _cli.inspecting.logs,
    "runs": lambda: _cli.inspecting.runs,
    "tunnel": lambda: _cli.tunnels.tunnel,
    "watch": lambda: _cli.watching.watch,
    "whoami": lambda: _cli.service.whoami,
    "regions": lambda: _cli.service.regions,
    "completion": lambda: completion,
}
"""The commands. Each loads its own module, since all together take time."""


def make_app(names: Sequence[str] | Mapping[str, object]) -> App:
    """Make the command line of some commands."""
    app = App(
        name="arker",
        help="Fork VMs, run commands in them, copy files, delete them.",
        version=version,
        help_format="markdown",
        # A flag is given or not, and no default is worth a word.
        default_parameter=Parameter(negative=(), show_default=False),
    )
    for name in names:
        app.command(COMMANDS[name](), name=name)
    for name, text in PLAIN.items():
        app.command(_plain, name=name, help=text)
    return app


def _plain() -> None:
    """Stand in the list of commands for one that `program` runs itself."""


def run(words: Sequence[str]) -> int:
    """Run a command. Returns the exit status."""
    name = words[0] if words else ""
    app = make_app([name] if name in COMMANDS else COMMANDS)
    if not words or {"-h", "--help"} & set(words):
        app.console = output.help_console()
    usage = statuses.OF_COMMAND_LINE.get(name, statuses.USAGE)
    try:
        command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        help_of = f"{name} --help" if name in COMMANDS else "--help"
        running.complain(f"{_message(app, words, error)} (arker {help_of} says more)")
        return usage
    try:
        work = command(*bound.args, **bound.kwargs)
    except SystemExit:  # by rich, when what reads the help has ended
        return statuses.BROKEN_PIPE
    if not inspect.iscoroutine(work):  # help has been printed
        sys.stdout.flush()
        return statuses.DONE if words else statuses.USAGE
    return running.run(work, failed=statuses.OF_COMMAND_LINE.get(name, statuses.FAILED), usage=usage)


def _message(app: App, words: Sequence[str], error: CycloptsError) -> str:
    """Return what is wrong with a command line, and what would be right if that is known."""
    if isinstance(error, UnusedCliTokensError):
        known = {each for argument in app[words[0]].assemble_argument_collection() for each in argument.names}
        options = [word for word in words if word.startswith("-") and word not in {"-", "--"}]
        strange = [word for word in options if word.partition("=")[0] not in known]
        if strange:
            return f"Unknown option: {strange[0]}."
        return f"Expected fewer arguments, got also {' '.join(error.unused_tokens or ())}."
    message = " ".join(str(error).split())
    advice = ""
    if isinstance(error, (UnknownCommandError, UnknownOptionError)):
        advice = guesses.advice(words)
    if advice and isinstance(error, UnknownCommandError):
        return f'Unknown command "{words[0]}": {advice}'
    return f"{message.rstrip('.')}; {advice}" if advice else message


__all__ = ["COMMANDS", "make_app", "run"]
