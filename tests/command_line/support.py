"""The command line, run in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from tests.support.forked import prefork, start
from tests.support.typist import ENV, Local, at_local

ROOT: Final = Path(__file__).parents[2]
MODULE: Final = (sys.executable, "-W", "error", "-m", "arker")


@frozen
class Done:
    """What became of a command.

    Attributes:
        status: Its exit status.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Runner:
    """Runs commands in processes that are forked for them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, words: tuple[str, ...], env: Mapping[str, str], cwd: Path, data: bytes) -> Done:
        names = [self._directory / name for name in ("in", "out", "err")]
        names[0].write_bytes(data)
        given = names[0] if data else Path(os.devnull)
        with given.open("rb") as stdin, names[1].open("wb") as stdout, names[2].open("wb") as stderr:
            streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            backends = "doctor" not in words  # which tells how a backend starts
            command = prefork().start(
                "command", streams=streams, env=env, cwd=str(cwd), arguments=words, backends=backends
            )
        return Done(command.wait(), names[1].read_text(), names[2].read_text())


@frozen
class Program:
    """The program ``arker`` with its settings.

    Attributes:
        runner: What runs commands.
        env: The environment.
        cwd: The directory.
    """

    runner: Runner
    env: Mapping[str, str] = field(repr=False)
    cwd: Path

    def with_env(self, env: Mapping[str, str]) -> Program:
        """Return the program with further settings."""
        return Program(self.runner, {**self.env, **env}, self.cwd)

    def at(self, url: str) -> Program:
        """Return the program with the settings of a server at another URL."""
        return self.with_env({name: url for name in self.env if name.endswith("BASE_URL")})

    def __call__(self, *words: str, data: bytes = b"", **env: str) -> Done:
        """Run a command, and check that there is no traceback."""
        done = self.runner.run(words, {**self.env, **env}, self.cwd, data)
        assert "Traceback" not in done.err, done.err
        assert "Warning" not in done.err, done.err
        return done

    def good(self, *words: str, data: bytes = b"", **env: str) -> str:
        """Run a command that has to succeed silently. Returns what it prints."""
        done = self(*words, data=data, **env)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    def bad(self, status: int, *words: str, data: bytes = b"", **env: str) -> str:
        """Run a command that has to fail, with one line. Returns the line."""
        done = self(*words, data=data, **env)
        assert done.status == status, done
        assert done.err.startswith("arker: "), done
        assert done.err.count("\n") == 1, done
        return done.err.strip()

    @contextmanager
    def started(self, *words: str, **options: Any) -> Generator[subprocess.Popen[bytes], None, None]:
        """Start a command in a new interpreter, with pipes. One that goes on is killed at the end of the block."""
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**self.env, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
        command = [*MODULE, *words]
        started: Any = subprocess.Popen(command, cwd=self.cwd, env=env, **{**streams, **options})
        with _killed(started) as process:
            yield process

    @contextmanager
    def forked(self, *words: str, **options: Any) -> Generator[subprocess.Popen[bytes], None, None]:
        """Start a command in a process that is forked for it, as `started` does and with what `start` takes."""
        env = {**self.env, **options.pop("env", {})}
        with _killed(start("module", "arker.__main__", *words, cwd=self.cwd, env=env, **options)) as process:
            yield process


@contextmanager
def _killed(process: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes], None, None]:
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


class _AtShell(Local):
    """Types into `arker shell`."""

    async def until_replayed(self, after: int = 0) -> None:
        await self.until(b"\x1bc", after)  # it resets this terminal


@asynccontextmanager
async def at_shell(program: Program, *words: str) -> AsyncGenerator[Local, None]:
    """Sit down at a new terminal of this machine, with `arker shell` in it."""

    def begin(terminal: int) -> subprocess.Popen[bytes]:
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        env = {**program.env, "TERM": ENV["TERM"]}
        return start("module", "arker.__main__", "shell", *words, **streams, cwd=program.cwd, env=env, terminal=True)

    async with at_local(begin, made=_AtShell) as typist:
        yield typist
