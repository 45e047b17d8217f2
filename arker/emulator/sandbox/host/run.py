"""A run, seen from the server: its output as it arrives, its end, and its kill."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from arker.emulator.sandbox.base import LargeOutput, RunExit
from arker.emulator.sandbox.capture import Capture
from arker.emulator.sandbox.host.shell import LARGEST_STATE, parse_state
from arker.emulator.sandbox.host.supervised import Supervised, exit_status

SETTLE = 0.05
"""How long a run may wait, after its command has ended, for output that is still in its pipes."""
_PIECE = 256 * 1024


class Output:
    """The server's end of one pipe of a run. It drains the pipe, so that the writer waits for the disk at most, and
    never for a reader.
    """

    def __init__(
        self,
        fd: int,
        keep: Callable[[int], int],
        at_end: Callable[[], None],
        *,
        spool: Path | None,
        drop: Callable[[int], None],
    ) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._keep = keep
        self.capture = Capture(spool, self._resume, drop)
        self._open = True
        self._kept = True
        self._loop = asyncio.get_running_loop()
        self._at_end = at_end
        self._loop.add_reader(fd, self._drain)

    @property
    def ended(self) -> bool:
        return not self._open

    def settle(self) -> None:
        """Take what is in the pipe now. Later output is drained and dropped."""
        for _ in range(4):  # no more than a pipe holds: a child that writes endlessly must not keep the run open
            if not self._open or not self._drain():
                break
        self._kept = False
        self._resume()

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._fd, self._drain)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._at_end()

    def _drain(self) -> bool:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        if self._kept:
            room = self._keep(len(data))
            if room and not self.capture.add(data[:room]):
                self._loop.remove_reader(self._fd)
        return True


class StateReader:
    """The reader of the state that a run's shell writes at its end. It uses a pipe, since commands may limit the size
    of files.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._content = bytearray()
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def take(self) -> bytes:
        """Return everything that was written. The shell has ended."""
        while self._open and self._read():
            pass
        self.close()
        return bytes(self._content)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._content += data
        if len(self._content) > LARGEST_STATE:
            self._content.clear()
            data = b""
        if not data:
            self.close()
        return bool(data)


class AgentRun(Supervised):
    """The `RunHandle` of a command that an agent's supervisor looks after."""

    def __init__(
        self,
        *,
        control: socket.socket,
        stdout: int,
        stderr: int,
        state: int,
        output_limit: int,
        at_stuck: Callable[[], None],
        look_after: Callable[[], None],
        to_outside: Callable[[str], str],
        spool: Path | None = None,
        late_output: float = 0.0,
        whole: bool = False,
    ) -> None:
        super().__init__(control=control, at_stuck=at_stuck, look_after=look_after)
        self._state = StateReader(state)
        self._limit = output_limit
        self._to_outside = to_outside
        self._whole = whole
        self._dropped = 0
        self._killed = False
        self._processes_killed = 0
        self._settled = False
        self._status: int | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._late_output = late_output
        self._late_end: asyncio.TimerHandle | None = None
        self._filtering = self._cut = False
        self._exit: asyncio.Future[RunExit] = self._loop.create_future()
        self._out = Output(stdout, self._keeper(), self._settle_if_ended, spool=spool, drop=self._drop)
        self._err = Output(stderr, self._keeper(), self._settle_if_ended, spool=spool, drop=self._drop)

    def stdout(self) -> bytes | LargeOutput:
        return self._out.capture.content()

    def stderr(self) -> bytes | LargeOutput:
        return self._err.capture.content()

    def release(self) -> None:
        self._out.capture.release()
        self._err.capture.release()

    def dropped(self) -> int:
        return self._dropped

    def spool_failure(self) -> str | None:
        return self._out.capture.failure or self._err.capture.failure

    async def wait(self) -> RunExit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        if self._status is None or (self._whole and not self._settled):
            self._killed = True
        await super().kill()

    def _keeper(self) -> Callable[[int], int]:
        kept = 0

        def keep(size: int) -> int:
            nonlocal kept
            room = min(size, self._limit - kept)
            kept += room
            self._dropped += size - room
            return room

        return keep

    def _drop(self, size: int) -> None:
        self._dropped += size

    def _take(self, word: str, rest: str) -> None:
        status = exit_status(word, rest)
        if word == "killed" and rest.isdigit() and len(rest) < 8:
            self._processes_killed = int(rest)
        elif status is not None and self._status is None:
            self._status = status
            if not self._killed and not self._whole:
                self._settling = self._loop.call_later(SETTLE, self._ask_for_filters)
                self._settle_if_ended()
        elif word == "late" and self._late_end is not None and not self._settled:
            self._filtering = rest == "1"
            if self._filtering:
                self._settling = self._loop.call_later(SETTLE, self._tell, "late")
            else:
                self._settle()

    def _ask_for_filters(self) -> None:
        """Settle, unless the output has not ended yet and a filter may still be writing it."""
        if not self._late_output or (self._out.ended and self._err.ended):
            self._settle()
        elif not self._settled:
            self._late_end = self._loop.call_later(self._late_output, self._cut_short)
            self._tell("late")

    def _cut_short(self) -> None:
        self._cut = self._filtering
        self._settle()

    def _settle_if_ended(self) -> None:
        if self._whole:
            return  # what is left of it may go on without an output
        if self._status is not None and not self._killed and self._out.ended and self._err.ended:
            self._settle()

    def _settle(self) -> None:
        """Settle the command's result. Its background children may continue."""
        if self._settled:
            return
        self._settled = True
        for timer in (self._settling, self._late_end, self._looking):
            if timer is not None:
                timer.cancel()
        self._ended_at = self._loop.time()
        self._out.settle()
        self._err.settle()
        if self._killed:
            self._exit.set_result(RunExit(exit_code=None, reason="killed", killed=self._processes_killed))
        elif self._status is None:
            reason = self._failure or "the VM's processes were killed under the command"
            self._exit.set_result(RunExit(exit_code=None, reason=reason))
        else:
            cwd, env = self._read_state()
            self._exit.set_result(RunExit(exit_code=self._status, cwd=cwd, env=env, cut=self._cut))

    def _read_state(self) -> tuple[str | None, Mapping[str, str] | None]:
        state = parse_state(self._state.take())
        return (None, None) if state is None else (self._to_outside(state[0]), state[1])

    def _close(self) -> None:
        self._out.close()
        self._err.close()
        self._state.close()


__all__ = ["AgentRun", "Output"]
