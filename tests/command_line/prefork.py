"""A process that has loaded the command line, and forks itself for each command: a test needs no new interpreter then.

It reads a line of JSON for each command: its words, environment and directory, and the files of its standard streams.
It answers with a line: the exit status.
"""

from __future__ import annotations

import json
import os
import sys

from arker import _cli
from arker._cli import app, program

_LOADED = (
    *(_cli.commands, _cli.copying, _cli.inspecting, _cli.machines),
    *(_cli.service, _cli.shell, _cli.tunnels, _cli.watching, app),
)


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
    assert all(_LOADED)
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
