"""`AsyncTerminal`: a terminal of a VM, usable as a context manager."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import ByteStream

from arker import models
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._context import Place
from arker._files.sources import check_typed
from arker._lifecycle.creation import Creation, Deleted
from arker._lifecycle.held import Held
from arker._protocol.calls import sessions as session_calls
from arker._protocol.calls import terminals as calls
from arker._protocol.forms import unsupported
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up
from arker._terminals.connection import Connection, Settings, Size
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import ArkerError, ConfigurationError
from arker.errors.api import is_surely_gone
from arker.models import _checks as check
from arker.reports import Replayed

PIECE = 64 * 1024


class AsyncTerminal(Held[str]):
    """A terminal of a VM with a program in it, by default the login shell. Only generation 1 of the API has terminals.

    As an async context manager it opens the terminal at the start. At the end it closes it, also after an exception:

        async with vm.terminal(cols=100, rows=30) as terminal:
            await terminal.write("echo $((6 * 7)); exit\\n")
            async for piece in terminal:
                if isinstance(piece, bytes):
                    print(piece.decode(errors="replace"), end="")
            print(terminal.exit_code)

    Iterating gives the output as it comes, in pieces of bytes: escape sequences and characters may be split between two
    of them. When the connection is lost, the client makes it again for some time. The server then replays its recent
    output, and the iteration gives a `Replayed` before that.

    Read the output while the program runs: at about 1 MiB that was not read, the program waits, as at any terminal.
    """

    __reduce__ = refuse_to_be_pickled

    _noun, _maker = "terminal", "terminal"

    def __init__(
        self,
        place: Place,
        settings: Settings,
        size: Size,
        session_id: str | None,
        request: models.CreateSessionRequest,
        deadline: float | None,
    ) -> None:
        """Initialize the terminal. Use `AsyncVM.terminal` to get one."""
        super().__init__(place)
        self._settings = settings
        self._size = size
        self._given_session = session_id
        self._request = request
        self._deadline = deadline
        self._connection: Connection | None = None
        self._last_typed = b"\n"
        self._ending = asyncio.Lock()

    def __repr__(self) -> str:
        facts = "closed" if self._closed else "not open" if self._data is None else f"in session {self._data}"
        return shown(self._place.redact(f"<AsyncTerminal of VM {self._place.vm_id}, {facts}>"))

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def vm_id(self) -> str:
        """The id of the terminal's VM, or the name that the VM's handle was created with."""
        return self._place.vm_id

    @property
    def session_id(self) -> str:
        """The id of the session that the terminal is in."""
        return self._opened()

    @property
    def cols(self) -> int:
        """The width in characters, as it was last set here."""
        return self._size.cols

    @property
    def rows(self) -> int:
        """The height in lines, as it was last set here."""
        return self._size.rows

    @property
    def ended(self) -> bool:
        """Whether the program has ended, or the terminal can no longer be reached."""
        return self._connection is not None and self._connection.incoming.over

    @property
    def exit_code(self) -> int | None:
        """The exit code of the program; None before its end, if it was killed, and if the server does not tell it."""
        return None if self._connection is None else self._connection.exit_code

    @property
    def stream(self) -> ByteStream:
        """The terminal as a stream of anyio's. It skips what `Replayed` marks; its end of input is Ctrl-D."""
        return _Stream(self)

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        self._enter_block()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave_block(raising=exc is None)

    def _name(self) -> str:
        return f"the terminal of the VM {self.vm_id}"

    def _removal(self) -> Coroutine[Any, Any, Deleted]:
        return self._end(CLEANUP_SECONDS)

    async def open(self) -> Self:
        """Open the terminal and return it. An open terminal stays as it is.

        If the call fails or is cancelled, no session is left behind as far as the client can tell.

        Raises:
            BadRequestError: The program cannot be started, or there is no such working directory.
            NotFoundError: There is no such session in this VM.
            ResourceBusyError: The session runs a command, or a connection is attached to its terminal already.
            QuotaExceededError: The VM or the organisation has as many terminals as it may have.
            UnsupportedOperationError: The server speaks generation 0.5.
            DeadlineExceededError: The ``deadline`` of `AsyncVM.terminal` has passed.
        """
        await self._open_once()
        return self

    async def _make(self) -> None:
        place = self._place
        progress = Progress("vm.terminal", vm_id=place.vm_id, redact=place.redact)
        with deadline_scope(self._deadline, progress):
            if await place.context.generations.find(place.base_url) == "0.5":
                raise progress.complete(unsupported(calls.LACK, "vm.terminal"))
            session_id = self._given_session or await self._create_session()
            connection = Connection(place, session_id, self._settings, self._size)
            try:
                await connection.open(progress)
            except BaseException:
                if self._given_session is None:
                    await clean_up(self._remove_session(session_id, CLEANUP_SECONDS))
                raise
        self._data, self._connection = session_id, connection

    async def _create_session(self) -> str:
        place = self._place
        creation = Creation(
            place.context,
            session_calls.create_session(place, self._request),
            lambda made: session_calls.delete_session(place, made.session_id),
            f"a session of the VM {place.vm_id}",
        )
        return (await creation.send()).session_id

    async def close(self, *, deadline: float | None = None) -> None:
        """Close the terminal.

        A session that was made for it is deleted, and its program is killed. In a session of the caller's the program
        goes on, unless the terminal was opened with ``persist=False``. A terminal that is closed already stays so.

        A `write` that still waits ends with an error, and what was not sent of its input is dropped. Input whose
        `write` has returned is sent; what the server does not take of it within 2 seconds is dropped.

        Args:
            deadline: Seconds for the whole call; None for no limit.
        """
        self._opened()
        await self._end(deadline)

    async def _end(self, deadline: float | None) -> models.DeleteSessionResponse:
        assert self._connection is not None
        progress = self._connection.progress()
        answer = models.DeleteSessionResponse(deleted=True)
        if self._connection.inherited:  # the other process goes on with it, and its tasks do not run in this one
            self._closed = True
            return answer
        with deadline_scope(deadline, progress):
            async with self._ending:
                await self._connection.close()
                if self._given_session is None and not self._closed:
                    call = session_calls.delete_session(self._place, self._opened())
                    try:
                        answer = await self._place.send(call, progress=progress)
                    except ArkerError as error:
                        if not is_surely_gone(error):
                            raise
                self._closed = self._closed or answer.deleted
        return answer

    async def _remove_session(self, session_id: str, deadline: float | None) -> models.DeleteSessionResponse:
        return await self._place.send(session_calls.delete_session(self._place, session_id), deadline=deadline)

    def _connected(self) -> Connection:
        if self._closed:
            raise ConfigurationError("the terminal is closed; terminal() gives a new one")
        self._opened()
        assert self._connection is not None
        if self._connection.inherited:
            message = "the terminal belongs to the process that this one was forked from; terminal() gives a new one"
            raise ConfigurationError(message)
        self._connection.check_loop()
        return self._connection

    # --- output ---------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | Replayed:
        piece = await self._connected().incoming.next()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read(self, size: int = PIECE) -> bytes:
        """Read some output, as soon as there is any; no bytes at the end. It skips `Replayed`, so iterate for a screen.

        Args:
            size: The most bytes to return.

        Raises:
            TerminalClosedError: The server ended the connection, and not because the program has ended.
            NetworkError: The connection was lost, and could not be made again in time.
            NotFoundError: The session or the VM was deleted.
        """
        most = check.check_integer("size", size, minimum=1)
        incoming = self._connected().incoming
        while isinstance(piece := await incoming.next(most), Replayed):
            pass
        return piece if piece is not None else b""

    # --- input ----------------------------------------------------------------------------------------------------

    async def write(self, data: str | bytes | bytearray | memoryview) -> None:
        r"""Write input, as if it were typed: ``\n`` or ``\r`` is the Return key, ``\x03`` is Ctrl-C.

        While the connection is lost, it waits for the next one. The server confirms no input: what was sent just before
        a loss may not have arrived.

        Args:
            data: Bytes, or text, which is sent as UTF-8.

        Raises:
            TerminalClosedError: The terminal has ended.
            NetworkError: The connection was lost while this was sent, and may have arrived in part.
        """
        typed = check_typed(data)
        await self._connected().write(typed)
        self._last_typed = typed[-1:] or self._last_typed

    async def resize(self, cols: int, rows: int) -> None:
        """Resize the terminal. Its program is told by the signal SIGWINCH.

        Args:
            cols: Width in characters, up to 1,000.
            rows: Height in lines, up to 1,000.

        Raises:
            TerminalClosedError: The terminal has ended.
        """
        size = Size(calls.check_size("cols", cols), calls.check_size("rows", rows))
        await self._connected().resize(size.cols, size.rows)
        self._size = size

    async def kill(self) -> None:
        """Stop the program, and all that was started in the terminal, by SIGKILL. `wait` tells when they have ended.

        Raises:
            TerminalClosedError: The terminal has ended.
        """
        await self._connected().kill()

    async def wait(self, *, deadline: float | None = None) -> int | None:
        """Wait until the program has ended, and return its exit code, or None: see `exit_code`.

        Output has to be read meanwhile, by another task, if there can be more than 1 MiB of it, except after `kill`.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            TerminalClosedError: The server ended the connection, and not because the program has ended.
            NetworkError: The connection was lost, and could not be made again in time.
            NotFoundError: The session or the VM was deleted.
        """
        connection = self._connected()
        with deadline_scope(deadline, connection.progress()):
            return await connection.wait()


class _Stream(ByteStream):
    """A terminal as a stream of anyio's."""

    def __init__(self, terminal: AsyncTerminal) -> None:
        self._terminal = terminal

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        data = await self._terminal.read(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await self._terminal.write(item)

    async def send_eof(self) -> None:
        last = self._terminal._last_typed  # pyright: ignore[reportPrivateUsage]
        amid_line = last >= b" " or last == b"\t"
        # Amid a line the first one only passes that on to the program, as at any terminal.
        await self._terminal.write(b"\x04\x04" if amid_line else b"\x04")

    async def aclose(self) -> None:
        await self._terminal.close()


__all__ = ["AsyncTerminal"]
