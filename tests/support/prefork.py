"""A process that has loaded the packages, and forks itself for each program, command and server that a test needs only
as a means: it needs no new interpreter then, whose imports take longer than anything else that it does.

It reads one message for each, a JSON object with descriptors beside it, and answers over the first of these: with the
process's id, and at its end with its exit status. A program may itself start backends: it is given the way to here.
What begins with a new interpreter is not tried so: tests of a server's start and of programs' ends start their own.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import termios
import warnings
from collections.abc import Callable, Mapping, Set
from functools import partial
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, cast

_APART: Final = ("arker.__main__", "arker.emulator.sandbox.agent.", "arker.integrations")
"""What is a program of its own, runs in VMs only, or needs libraries of its own."""
_OF_OTHERS: Final = (
    *("anyio._backends._asyncio", "concurrent.futures.thread", "importlib.metadata", "orjson", "pybase64", "sqlite3"),
    *("cyclopts.help", "difflib", "docstring_parser", "markdown_it", "rich.console", "rich.markdown", "rich.panel"),
)
"""What the packages, and the libraries that they use, load late."""
_MOST_DESCRIPTORS: Final = 64
_OUT_OF_THE_WAY: Final = 200
"""A descriptor's number that no process is given one under."""
_ENDED: Final[list[tuple[ModuleType, int]]] = []
"""The program that has ended in this process, and its exit status."""


def _leave() -> None:
    """End a program's process, where all that it does at its end has been done.

    Its own objects are destroyed first. The libraries are not: that takes ten times what most programs do.
    """
    if _ENDED:
        main, status = _ENDED.pop()
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            if hasattr(sys, name):
                delattr(sys, name)
        vars(main).clear()
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os._exit(status)


atexit.register(_leave)  # before any library's functions, and so called after them


def load() -> None:
    """Load all that is loaded late. Every warning is an error."""
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in pkgutil.walk_packages(import_module("arker").__path__, "arker."):
            if not module.name.startswith(_APART) and module.name.rpartition(".")[2] != "__main__":
                import_module(module.name)
        for name in ("arker.emulator.__main__", "tests.support.forked", *_OF_OTHERS):
            import_module(name)
    gc.enable()
    gc.freeze()  # it stays, and need not be looked through


def run_code(order: Mapping[str, Any]) -> None:
    """Run a program as ``python -W error -c`` does."""
    _run(compile(order["code"], "<string>", "exec"), "-c", order)


def run_module(order: Mapping[str, Any]) -> None:
    """Run a module as ``python -W error -m`` does."""
    spec = find_spec(order["module"])
    assert spec is not None
    assert spec.origin is not None
    loader = cast("InspectLoader", spec.loader)
    _run(loader.get_code(spec.name), spec.origin, order, __spec__=spec, __package__=spec.parent)


def run_file(order: Mapping[str, Any]) -> None:
    """Run a file as ``python -W error`` does."""
    path = Path(order["file"]).absolute()
    code = compile(path.read_bytes(), str(path), "exec")
    _run(code, order["file"], order, str(path.parent), __file__=str(path))


def _run(code: CodeType | None, name: str, order: Mapping[str, Any], place: str = "", /, **attributes: object) -> None:
    assert code is not None
    warnings.simplefilter("error")
    sys.argv[:] = [name, *order["arguments"]]
    sys.path[:1] = [] if "PYTHONSAFEPATH" in os.environ else [place]
    for stream in (sys.stdout, sys.stderr):
        cast("TextIOWrapper", stream).reconfigure(line_buffering=stream is sys.stderr or stream.isatty())
    main = sys.modules["__main__"] = ModuleType("__main__")
    vars(main).update(attributes)
    try:
        exec(code, vars(main))
    except KeyboardInterrupt:  # the interpreter ends this process by the signal
        raise
    except SystemExit as end:
        _ENDED.append((main, end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)))
        raise
    except BaseException:
        _ENDED.append((main, 1))
        raise
    _ENDED.append((main, 0))


def run_command(order: Mapping[str, Any]) -> None:
    """Run the command line as ``python -W error -m arker`` does."""
    from arker._cli import program

    warnings.simplefilter("error")
    _exit_after(lambda: program.main(order["arguments"]))


def run_server(order: Mapping[str, Any]) -> None:
    """Run the embedded backend as `arker.emulator.Emulator` starts it."""
    from arker.emulator import __main__ as server

    sys.path[:] = order["path"]
    _exit_after(lambda: server.main(order["arguments"]))


def _exit_after(main: Callable[[], int]) -> None:
    """End as soon as a function has returned: nothing else of this process needs an orderly end, which takes long."""
    status = 70
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 70
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


_RUN: Final = {
    "code": run_code,
    "file": run_file,
    "module": run_module,
    "command": run_command,
    "server": run_server,
}


def become(order: Mapping[str, Any], given: list[int]) -> None:
    """Give this process the descriptors, directory and environment of the one that it is from now on."""
    wanted: list[int] = order["descriptors"]
    # Above all numbers that are wanted first, since one of these may be another's.
    free = max(*wanted, *given) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, free) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for descriptor, number in zip(moved, wanted, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if order["session"]:
        os.setsid()
    if order["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if order["kind"] != "server":
        # nohup has it ignored, so that all goes on when a terminal is closed; but tests are about what it does.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])


def fork_backends(way: socket.socket) -> None:
    """Let this process's backends be forked by the one that it was forked from, to which the socket leads."""
    # Not before `load`: what a library does at the end comes before `_leave`.
    from arker.emulator import Emulator
    from tests.support.forked import Orders, fork_server

    number = fcntl.fcntl(way, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    orders = Orders(socket.socket(fileno=number))
    Emulator._spawn = staticmethod(partial(fork_server, orders))  # pyright: ignore[reportPrivateUsage]


def serve(control: socket.socket) -> Mapping[str, Any] | None:
    """Fork for each order. Returns the order in its process; None in this one, when there are no more."""
    ends: dict[int, int] = {}
    programs: set[int] = set()
    # Another than that of the test run, whose end ends this: programs that the run left behind still hold this one.
    of_programs, for_programs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, _wake_up)
    while True:
        ready, _, _ = select.select([control.fileno(), of_programs.fileno(), awake], [], [])
        if awake in ready:
            os.read(awake, 4096)
            _report(ends)
        asking = control if control.fileno() in ready else of_programs
        if asking.fileno() not in ready:
            continue
        data, given, _, _ = socket.recv_fds(asking, 1024 * 1024, _MOST_DESCRIPTORS)
        if not data:
            _end(programs & ends.keys(), ends)
            return None
        told, *given = given
        order = json.loads(data)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            of_programs.close()
            for descriptor in (awake, wake, told, *ends.values()):
                os.close(descriptor)
            if order["backends"]:
                fork_backends(for_programs)
            for_programs.close()
            become(order, given)
            return dict(order)
        ends[pid] = told
        if order["kind"] != "server":
            programs.add(pid)
        _tell(told, pid)
        for descriptor in given:
            os.close(descriptor)


def _wake_up(number: int, frame: object) -> None:
    """Do nothing: without a handler, the signal would not reach the wake-up descriptor."""


def _report(ends: dict[int, int]) -> None:
    """Tell the exit statuses of the processes that have ended."""
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _tell(ends[pid], os.waitstatus_to_exitcode(status))
        os.close(ends.pop(pid))


def _end(programs: Set[int], ends: dict[int, int]) -> None:
    """Kill the programs that a test run left behind, since it was killed itself. Backends end of their own accord."""
    for pid in programs:
        os.kill(pid, signal.SIGKILL)
    for pid in programs:
        _, status = os.waitpid(pid, 0)
        _tell(ends.pop(pid), os.waitstatus_to_exitcode(status))


def _tell(descriptor: int, number: int) -> None:
    try:
        os.write(descriptor, f"{number}\n".encode())
    except BrokenPipeError:  # the test has gone
        pass


def main() -> None:
    load()
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _RUN[order["kind"]](order)


if __name__ == "__main__":
    main()
