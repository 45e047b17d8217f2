"""Programs that the store of trees starts: ``cp``, ``rm`` and the like, as the trees' owner."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity, ways_to_start
from arker.emulator.sandbox.host.process_tree import kill_group, kill_launched
from arker.emulator.sandbox.pressure import Reserve, lack, lack_in, telling

_OF_FILE_SIZE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)
"""The statuses of a tool, alone or below bwrap, that has hit a limit of the size of files."""
_LAST_STEPS = 1.0
"""Seconds that a bwrap has to end by itself once what it has started is dead."""


class ToolError(SandboxError):
    """The failure of a program.

    Attributes:
        said: What it wrote.
    """

    def __init__(self, tool: str, said: str, shown: str) -> None:
        super().__init__("internal", f"{tool} failed: {shown}")
        self.said = said


class Tools:
    """A way to start programs.

    Args:
        prefix: What they are started through, to be able to handle directories of mode 000; it ends with ``--``.
        identity: Who they run as; None for the server's own user.
        base: A directory that their messages do not name to clients.
    """

    def __init__(self, prefix: Sequence[str], identity: Identity | None, base: Path) -> None:
        self.prefix = prefix
        self._identity = identity
        self._base = base

    async def run(
        self,
        *command: str,
        mounts: Sequence[str] = (),
        output: Callable[[bytes], None] | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        """Run a program to its end.

        Args:
            command: The program and its arguments.
            mounts: Further options of the prefix.
            output: Takes what it writes; None drops that.
            reserve: Descriptors to use when there are no others.

        Raises:
            ToolError: It failed.
            SandboxError: For lack of a resource (``resource_pressure``).
        """
        starter, options = ways_to_start(self._identity)
        prefix = [*self.prefix[:-1], *mounts, "--"] if mounts else self.prefix

        def start() -> Coroutine[Any, Any, asyncio.subprocess.Process]:
            return asyncio.create_subprocess_exec(
                *starter,
                *prefix,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL if output is None else asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
                **options,
            )

        with telling():
            starting = asyncio.ensure_future(start() if reserve is None else reserve.start(start))
            try:
                await self._wait(starting, command, output)
            finally:
                if reserve is not None:
                    reserve.refill()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if self.prefix and process.returncode is None and kill_launched(process.pid):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.communicate(), _LAST_STEPS)
                return
        kill_group(process.pid)
        await process.communicate()

    async def _wait(
        self,
        starting: asyncio.Future[asyncio.subprocess.Process],
        command: Sequence[str],
        output: Callable[[bytes], None] | None,
    ) -> None:
        try:
            process = await asyncio.shield(starting)
            if output is not None and process.stdout is not None:
                while piece := await process.stdout.read(64 * 1024):
                    output(piece)
            _, errors = await process.communicate()
        except asyncio.CancelledError:
            # The tool itself must have ended, not only its launcher: it must not write after the clean-up.
            process = await starting
            await self._end(process)
            raise
        if process.returncode != 0:
            text = errors.decode("utf-8", "replace").strip()
            reason = lack_in(text)
            if reason is None and process.returncode in _OF_FILE_SIZE:
                reason = lack(OSError(errno.EFBIG, ""))
            if reason is not None:
                raise SandboxError("resource_pressure", reason)
            # Clients are not told where the server keeps its files.
            raise ToolError(Path(command[0]).name, text, f"{text.replace(str(self._base), '…')[:500]}")


__all__ = ["ToolError", "Tools"]
