"""A process that has loaded the command line, and forks itself for each command: a test needs no new interpreter then.

It reads a line of JSON for each command: its words, environment and directory, and the files of its standard streams.
It answers with a line: the exit status.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import sys
from importlib import import_module

import arker
from arker._cli import program

_APART = ("arker.__main__", "arker.emulator", "arker.integrations")
"""What is left to the commands that need it, and to other programs."""
_OF_OTHERS = (
    *("anyio._backends._asyncio", "concurrent.futures.thread", "importlib.metadata", "orjson", "pybase64", "sqlite3"),
    *("cyclopts.help", "difflib", "docstring_parser", "markdown_it", "rich.console", "rich.markdown", "rich.panel"),
)
"""What commands, and the libraries that they use, load late."""


def load() -> None:
    """Load what commands load one by one, which takes them longer than anything else that they do."""
    for module in pkgutil.walk_packages(arker.__path__, "arker."):
        if not module.name.startswith(_APART):
            import_module(module.name)
    for name in _OF_OTHERS:
        import_module(name)
    gc.freeze()  # it stays, and no command needs to look through it


def child(words: list[str], env: dict[str, str], cwd: str, streams: tuple[str, str, str]) -> int:
    """Run a command in this process, which has been forked for it."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in enumerate(streams):
        descriptor = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    try:
        return program.main(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main() -> None:
    load()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = child(order["words"], order["env"], order["cwd"], order["streams"])
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 70
            except BaseException as error:
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
