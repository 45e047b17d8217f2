# Generated from arker/terminal.py by "nox -s facade": change that file, not this one.
"""`Terminal`: a terminal of a VM, usable as a context manager."""

from __future__ import annotations

from types import TracebackType

import arker
from arker._basics.typing import Self
from arker.reports import Replayed
from arker.terminal import PIECE
from arker_sync._bridge.file_like import FileLike


class Terminal(FileLike):
    r"""A terminal of a VM with a program in it, by default the login shell. Only generation 1 of the API has terminals.

    As a context manager it opens the terminal at the start. At the end it closes it, also after an exception:

        with vm.terminal(cols=100, rows=30) as terminal:
            terminal.write("echo $((6 * 7)); exit\n")
            for piece in terminal:
                if isinstance(piece, bytes):
                    print(piece.decode(errors="replace"), end="")
            print(terminal.exit_code)

    Iterating gives the output as it comes, in pieces of bytes: escape sequences and characters may be split between two
    of them. When the connection is lost, the client makes it again for some time. The server then replays its recent
    output, and the iteration gives a `Replayed` before that.

    Read the output while the program runs: at about 1 MiB that was not read, the program waits, as at any terminal.
    """

    _async: arker.AsyncTerminal

    # --- fields ---------------------------------------------------------------------------------------------------

    @property
    def vm_id(self) -> str:
        """The id of the terminal's VM, or the name that the VM's handle was created with."""
        return self._async.vm_id

    @property
    def session_id(self) -> str:
        """The id of the session that the terminal is in."""
        return self._async.session_id

    @property
    def cols(self) -> int:
        """The width in characters, as it was last set here."""
        return self._async.cols

    @property
    def rows(self) -> int:
        """The height in lines, as it was last set here."""
        return self._async.rows

    @property
    def ended(self) -> bool:
        """Whether the program has ended, or the terminal can no longer be reached."""
        return self._async.ended

    @property
    def exit_code(self) -> int | None:
        """The exit code of the program; None before its end, if it was killed, and if the server does not tell it."""
        return self._async.exit_code

    # --- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    def open(self) -> Self:
        """Open the terminal and return it. An open terminal stays as it is.

        If the call fails or is cancelled, no session is left behind as far as the client can tell.

        Raises:
            BadRequestError: The program cannot be started, or there is no such working directory.
            NotFoundError: There is no such session in this VM.
            ResourceBusyError: The session runs a command, or a connection is attached to its terminal already.
            QuotaExceededError: The VM or the organisation has as many terminals as it may have.
            UnsupportedOperationError: The server speaks generation 0.5.
            DeadlineExceededError: The ``deadline`` of `VM.terminal` has passed.
        """
        work = self._async.open()
        self._lease.call(work)
        return self

    def close(self, *, deadline: float | None = None) -> None:
        """Close the terminal.

        A session that was made for it is deleted, and its program is killed. In a session of the caller's the program
        goes on, unless the terminal was opened with ``persist=False``. A terminal that is closed already stays so.

        A `write` that still waits ends with an error, and what was not sent of its input is dropped. Input whose
        `write` has returned is sent; what the server does not take of it within 2 seconds is dropped.

        Args:
            deadline: Seconds for the whole call; None for no limit.
        """
        work = self._async.close(deadline=deadline)
        self._lease.call(work)

    # --- output ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes | Replayed:
        work = self._async.__anext__()
        return self._lease.step(work)

    def read(self, size: int = PIECE) -> bytes:
        """Read some output, as soon as there is any; no bytes at the end. It skips `Replayed`, so iterate for a screen.

        Args:
            size: The most bytes to return.

        Raises:
            TerminalClosedError: The server ended the connection, and not because the program has ended.
            NetworkError: The connection was lost, and could not be made again in time.
            NotFoundError: The session or the VM was deleted.
        """
        work = self._async.read(size)
        return self._lease.call(work)

    # --- input ----------------------------------------------------------------------------------------------------

    def write(self, data: str | bytes | bytearray | memoryview) -> None:
        r"""Write input, as if it were typed: ``\n`` or ``\r`` is the Return key, ``\x03`` is Ctrl-C.

        While the connection is lost, it waits for the next one. The server confirms no input: what was sent just before
        a loss may not have arrived.

        Args:
            data: Bytes, or text, which is sent as UTF-8.

        Raises:
            TerminalClosedError: The terminal has ended.
            NetworkError: The connection was lost while this was sent, and may have arrived in part.
        """
        work = self._async.write(data)
        self._lease.call(work)

    def resize(self, cols: int, rows: int) -> None:
        """Resize the terminal. Its program is told by the signal SIGWINCH.

        Args:
            cols: Width in characters, up to 1,000.
            rows: Height in lines, up to 1,000.

        Raises:
            TerminalClosedError: The terminal has ended.
        """
        work = self._async.resize(cols, rows)
        self._lease.call(work)

    def kill(self) -> None:
        """Stop the program, and all that was started in the terminal, by SIGKILL. `wait` tells when they have ended.

        Raises:
            TerminalClosedError: The terminal has ended.
        """
        work = self._async.kill()
        self._lease.call(work)

    def wait(self, *, deadline: float | None = None) -> int | None:
        """Wait until the program has ended, and return its exit code, or None: see `exit_code`.

        Output has to be read meanwhile, by another thread, if there can be more than 1 MiB of it, except after `kill`.

        Args:
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            TerminalClosedError: The server ended the connection, and not because the program has ended.
            NetworkError: The connection was lost, and could not be made again in time.
            NotFoundError: The session or the VM was deleted.
        """
        work = self._async.wait(deadline=deadline)
        return self._lease.call(work)


__all__ = ["Terminal"]
