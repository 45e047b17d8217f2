"""Programs, commands and embedded backends in processes that `tests.support.prefork` forks."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from arker._basics.typing import Self
from arker.emulator import Emulator
from arker.emulator._start import import_path, server_environment
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:  # the process that programs are forked from loads this module, and no pytest
    import pytest

ROOT: Final = Path(__file__).parents[2]
Kind: TypeAlias = Literal["code", "file", "module"]


class Forked:
    """A process that is not this one's child, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: Its id.
        returncode: Its exit status, once `poll` or `wait` has found that it ended; negative for a signal.
        stdin: Its input, where that is a pipe.
        stdout: Its output, where that is a pipe.
        stderr: Its standard error, where that is a pipe.
    """

    def __init__(
        self, told: int, *, stdin: IO[Any] | None = None, stdout: IO[Any] | None = None, stderr: IO[Any] | None = None
    ) -> None:
        self._told: IO[str] = os.fdopen(told)
        # Not closed at its end: another thread may be waiting, and the number would be given to another file.
        weakref.finalize(self, self._told.close)
        self._lock = threading.Lock()
        self.pid = int(self._told.readline())
        self.returncode: int | None = None
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    def poll(self) -> int | None:
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def _status(self, timeout: float | None) -> int | None:
        waiting = select.poll()
        waiting.register(self._told)
        # Without the lock: another thread must be able to kill the process meanwhile.
        ended = self.returncode is not None or waiting.poll(None if timeout is None else timeout * 1000)
        with self._lock:
            if ended and self.returncode is None:
                self.returncode = int(self._told.readline())
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:  # it has ended just now
                pass

    def terminate(self) -> None:
        self.send_signal(15)

    def kill(self) -> None:
        self.send_signal(9)

    def communicate(self, given: str | bytes | None = None, *, timeout: float = PATIENCE) -> tuple[Any, Any]:
        """Write to its input, and read what it writes to the end. One that takes longer is killed."""
        over = threading.Timer(timeout, self.kill)
        over.start()
        try:
            with ThreadPoolExecutor(1) as other:
                complaints = None if self.stderr is None else other.submit(self.stderr.read)
                if self.stdin is not None:
                    try:
                        if given:
                            self.stdin.write(given)
                        self.stdin.close()
                    except BrokenPipeError:
                        pass
                said = None if self.stdout is None else self.stdout.read()
            self.wait()
        finally:
            over.cancel()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        return said, complaints and complaints.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:  # nothing ends it then
            self.kill()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self.wait(PATIENCE)


class Orders:
    """A way to the process that forks itself.

    Args:
        control: The socket that leads there.
    """

    def __init__(self, control: socket.socket) -> None:
        self._lock = threading.Lock()
        self._control = control

    def start(
        self,
        kind: str,
        *,
        streams: Sequence[int],
        env: Mapping[str, str],
        cwd: str,
        descriptors: Sequence[int] = (),
        session: bool = False,
        terminal: bool = False,
        backends: bool = False,
        stdin: IO[Any] | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
        **order: object,
    ) -> Forked:
        """Start a process.

        Args:
            kind: What it is.
            streams: Its standard streams.
            env: Its environment.
            cwd: Its directory.
            descriptors: What it has under the same numbers.
            session: Whether it is in a session of its own.
            terminal: Whether its input is the terminal of this session.
            backends: Whether the backends that it starts are forked, too.
            stdin: The other end of its input.
            stdout: The other end of its output.
            stderr: The other end of its standard error.
            order: What else there is to say.
        """
        numbers = [*range(len(streams)), *descriptors]
        message: dict[str, object] = {"kind": kind, "env": dict(env), "cwd": cwd, "descriptors": numbers, **order}
        message.update(session=session, terminal=terminal, backends=backends)
        told, tell = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._control, [json.dumps(message).encode()], [tell, *streams, *descriptors])
        finally:
            os.close(tell)
        return Forked(told, stdin=stdin, stdout=stdout, stderr=stderr)


class Prefork(Orders):
    """The process that forks itself, as this one sees it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-m", "tests.support.prefork", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._control.close()
        assert self._process.wait(PATIENCE) == 0


@cache
def prefork() -> Prefork:
    """Return this process's own, which ends with it."""
    made = Prefork()
    atexit.register(made.close)
    return made


def fork_server(
    orders: Orders, command: Sequence[str], streams: tuple[int, int, int], descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Fork the process of an embedded backend, as `arker.emulator._start.start_server` starts it."""
    made = orders.start(
        "server",
        streams=streams,
        descriptors=descriptors,
        env=server_environment(),
        cwd="/",
        session=True,
        path=import_path(),
        arguments=["--managed"],
    )
    return cast("subprocess.Popen[bytes]", made)


class ForkedEmulator(Emulator):
    """An embedded backend whose process is forked instead of started: all else is as it always is.

    For tests that need a server of their own, and are not about its start.
    """

    @staticmethod
    def _spawn(
        command: Sequence[str], streams: tuple[int, int, int], descriptors: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        return fork_server(prefork(), command, streams, descriptors)


def fork_backends(patch: pytest.MonkeyPatch) -> None:
    """Fork all backends that this process starts from now on, those of ``local()`` and of the plugin too."""
    patch.setattr(Emulator, "_spawn", staticmethod(ForkedEmulator._spawn))  # pyright: ignore[reportPrivateUsage]


def run(
    kind: Kind,
    what: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: str | Path = ROOT,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Every warning is an error in it, and backends that it starts are forked, too.

    Args:
        kind: Whether it is a text, a file or a module.
        what: The text; or the file, as seen from the directory; or the module, of a package its ``.__main__``.
        arguments: The program's.
        env: Its environment.
        cwd: Its directory.
        timeout: Seconds. One that takes longer is killed.

    Returns:
        What it wrote, as `subprocess.run` does.
    """
    with open(os.devnull, "rb") as null, TemporaryFile() as out, TemporaryFile() as err:
        streams = (null.fileno(), out.fileno(), err.fileno())
        order: dict[str, Any] = {kind: what, "arguments": arguments}
        process = prefork().start(kind, streams=streams, env=env, cwd=str(cwd), backends=True, **order)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
            process.wait(PATIENCE)
        said: list[str] = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([what, *arguments], status, *said)


@contextmanager
def program(code: str, *arguments: str, **environment: str) -> Generator[Forked, None, None]:
    """Run a program in which every warning is an error, with pipes. It is killed at the end if it still runs."""
    with ExitStack() as theirs:
        given, write = os.pipe()
        theirs.callback(os.close, given)
        read, said = os.pipe()
        theirs.callback(os.close, said)
        process = prefork().start(
            "code",
            streams=(given, said, 2),
            env={**os.environ, **environment},
            cwd=str(ROOT),
            stdin=open(write, "w", encoding="utf-8"),  # noqa: SIM115
            stdout=open(read, encoding="utf-8"),  # noqa: SIM115
            code=code,
            arguments=arguments,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def start(
    kind: Kind,
    what: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: str | Path = ROOT,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    session: bool = False,
    terminal: bool = False,
    backends: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in which every warning is an error.

    Args:
        kind: Whether it is a text, a file or a module.
        what: As in `run`.
        arguments: The program's.
        env: Its environment.
        cwd: Its directory.
        stdin: Its input: a descriptor, or what `subprocess.Popen` takes.
        stdout: Its output.
        stderr: Its standard error.
        session: Whether it is in a session of its own.
        terminal: Whether its input is the terminal of this session.
        backends: Whether the backends that it starts are forked, too.
    """
    streams: list[int] = []
    pipes: list[IO[bytes] | None] = []
    with ExitStack() as theirs:
        for number, given in enumerate((stdin, stdout, stderr)):
            end = None
            if given == subprocess.PIPE:
                read, write = os.pipe()
                given, ours = (write, read) if number else (read, write)
                theirs.callback(os.close, given)
                end = open(ours, "rb" if number else "wb")  # noqa: SIM115
            elif given == subprocess.DEVNULL:
                given = os.open(os.devnull, os.O_RDWR)
                theirs.callback(os.close, given)
            streams.append(given)
            pipes.append(end)
        order: dict[str, Any] = {kind: what, "arguments": arguments}
        process = prefork().start(
            kind,
            streams=streams,
            env=env,
            cwd=str(cwd),
            session=session or terminal,
            terminal=terminal,
            backends=backends,
            stdin=pipes[0],
            stdout=pipes[1],
            stderr=pipes[2],
            **order,
        )
    return cast("subprocess.Popen[bytes]", process)


__all__ = [
    "Forked",
    "ForkedEmulator",
    "Kind",
    "Orders",
    "Prefork",
    "fork_backends",
    "fork_server",
    "prefork",
    "program",
    "run",
    "start",
]
