"""The program ``arker`` for the shell of a page, in processes that are forked for it."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from tests.support.forked import Forked, prefork

# What is in the place of the program: it hands over its words, environment and streams, and waits for a status.
_ASK: Final = """
import _socket, os, sys
door, *words = sys.argv[1:]
told = [os.getcwd(), str(len(words)), *words, *(f"{name}={value}" for name, value in os.environ.items())]
way = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
way.connect(door)
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
way.sendmsg([os.fsencode("\\0".join(told))], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
os._exit(int(way.recv(16)))
"""


class Arker:
    """A directory with a program ``arker``, which takes a tenth of the time that it takes where it is installed.

    Attributes:
        directory: Where it is.
    """

    def __init__(self) -> None:
        self._prefork = prefork()
        self.directory = Path(tempfile.mkdtemp(prefix="arker-page-"))
        door, ask = self.directory / "door", self.directory / "ask.py"
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(door))
        self._listening.listen()
        ask.write_text(_ASK)
        command = shlex.join([sys.executable, "-I", "-S", str(ask), str(door)])
        program = self.directory / "arker"
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        """Remove it. The commands have ended by then, or end now."""
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()
        shutil.rmtree(self.directory)

    def _serve(self) -> None:
        while True:
            try:
                way, _ = self._listening.accept()
            except OSError:  # it is closed
                return
            self._threads.append(threading.Thread(target=self._run, args=(way,)))
            self._threads[-1].start()

    def _run(self, way: socket.socket) -> None:
        with way:
            told, streams, _, _ = socket.recv_fds(way, 1024 * 1024, 3)
            cwd, count, *rest = os.fsdecode(told).split("\0")
            words, settings = rest[: int(count)], rest[int(count) :]
            env = dict(setting.split("=", 1) for setting in settings)
            order: dict[str, Any] = {"module": "arker.__main__", "arguments": words}
            try:
                command = self._prefork.start("module", streams=streams, env=env, cwd=cwd, backends=True, **order)
            finally:
                for stream in streams:
                    os.close(stream)
            status = _status(command, way)
            if status is not None:
                way.send(str(status).encode())


def _status(command: Forked, way: socket.socket) -> int | None:
    """Wait for a command's end. Returns its status as a shell has it; None if the caller has ended before it."""
    while True:
        try:
            status = command.wait(0.1)
        except subprocess.TimeoutExpired:
            if select.select([way], [], [], 0)[0]:
                command.kill()
                command.wait()
                return None
        else:
            return status if status >= 0 else 128 - status


__all__ = ["Arker"]
