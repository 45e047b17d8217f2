"""The interface between the server of the embedded backend and what is inside its VMs.

The server (``arker.emulator.server``) uses only this interface, and so knows neither bubblewrap nor directories; a
provider (`bubblewrap`, `plain`) knows no HTTP, no organisation and no id of a run. All methods are called on the
server's event loop and never block it.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

HOME = "/home/user"
"""The directory where sessions start, and the fallback when a working directory no longer exists."""


class SandboxError(Exception):
    """An operation on a VM that cannot be done.

    Attributes:
        code: The contract's error code that fits best: ``not_found``, ``bad_request``, ``unavailable``,
            ``unsupported_operation``, ``unrecoverable``, ``resource_pressure`` or ``internal``; of what an earlier
            server has left: ``damaged``, ``mismatched`` or ``unusable``.
        reason: The name of the system's error, such as ``EISDIR``, if it has one.
    """

    def __init__(self, code: str, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class IsolationUnavailableError(Exception):
    """The error when VMs cannot be isolated on this machine: the failed step, its errno, and what to do."""


@frozen
class LargeOutput:
    """An output that is not in memory as a whole.

    Attributes:
        path: The file that its first bytes are in. It may go on growing.
        stored: How many they are.
        rest: Those that follow.
    """

    path: Path
    stored: int
    rest: bytes = field(repr=False)

    def __len__(self) -> int:
        return self.stored + len(self.rest)


@frozen(kw_only=True)
class RunSpec:
    """A command to run.

    Attributes:
        command: The line for ``bash``; up to megabytes, without NUL.
        cwd: Working directory inside the VM. If it no longer exists, `HOME` is used.
        env: The session's environment, whole; empty for `Sandbox.initial_env`. Bytes that are no UTF-8 are surrogates
            (``os.fsdecode``), here and in `RunExit`.
        output_limit: Bytes kept of each output. Further bytes are dropped and counted.
        spool: The directory for outputs that are too large for memory; None keeps them there.
        late_output: Seconds to wait after the command's end for what its output goes through, such as the filter of
            ``> >(filter)``.
        whole: Whether the run ends only when everything that the command started has ended; its output goes on until
            then.
    """

    command: str
    cwd: str = HOME
    env: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    output_limit: int = 256 * 1024 * 1024
    spool: Path | None = None
    late_output: float = 2.0
    whole: bool = False


@frozen(kw_only=True)
class RunExit:
    """The end of a command.

    Attributes:
        exit_code: Its status, 128 + n for death by signal n; None when there is none (killed by `RunHandle.kill`, or
            the VM died under it).
        reason: Why there is no status, for people.
        killed: How many processes `RunHandle.kill` ended, as the VM says.
        cwd: The session's working directory afterwards; None: as it was.
        env: The session's environment afterwards; None: as it was.
        cut: Whether the result lacks output that had not arrived after `RunSpec.late_output`.
    """

    exit_code: int | None
    reason: str | None = None
    killed: int = 0
    cwd: str | None = None
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cut: bool = False


@frozen(kw_only=True)
class TerminalSpec:
    """A program to start in a terminal.

    Attributes:
        command: The path of the program, which gets no arguments; None for the login shell.
        cwd: Working directory inside the VM. If it no longer exists, `HOME` is used.
        env: The whole environment; empty for `Sandbox.initial_env`.
        cols: The terminal's width in characters.
        rows: Its height in lines.
    """

    command: str | None = None
    cwd: str = HOME
    env: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    cols: int = 80
    rows: int = 24


class TerminalHandle(Protocol):
    """A terminal with a program in it."""

    async def read(self) -> bytes:
        """Return what was written to the terminal, as it comes; none once the program has ended. One caller at a time.

        What is not read stays in the terminal, whose writers wait.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Type into the terminal. Waits while it takes no more; what comes after the end is dropped."""
        ...

    def resize(self, cols: int, rows: int) -> None:
        """Change the terminal's size, of which its program is told by SIGWINCH."""
        ...

    async def wait(self) -> RunExit:
        """Wait until the program has ended. Its background children continue. Any number of callers may wait."""
        ...

    async def kill(self) -> None:
        """Kill everything that was started in the terminal. Then `wait` returns."""
        ...

    def close(self) -> None:
        """Close the terminal. Its program has ended, and what it wrote was read."""
        ...


class RunHandle(Protocol):
    """A command that is going on, or has ended."""

    def stdout(self) -> bytes | LargeOutput:
        """Return what the command has written to standard output so far."""
        ...

    def stderr(self) -> bytes | LargeOutput:
        """Return what the command has written to standard error so far."""
        ...

    def release(self) -> None:
        """Drop the outputs of a command that has ended: the caller has taken them, with their files."""
        ...

    def dropped(self) -> int:
        """Return how many bytes of output were not kept, because of the limit or because the spool was full."""
        ...

    def spool_failure(self) -> str | None:
        """Return why the spool takes no more output, as a message for people."""
        ...

    async def wait(self) -> RunExit:
        """Wait until the command has ended. Its background children continue. Any number of callers may wait."""
        ...

    async def kill(self) -> None:
        """Kill everything that the command started, background children included. Then `wait` returns."""
        ...

    async def signal(self, number: int) -> None:
        """Send a signal to the command and what it runs in the foreground."""
        ...


class FileReader(Protocol):
    """A regular file of the VM, opened for reading."""

    fd: int
    """Readable from offset 0; owned by the reader."""
    size: int

    def close(self) -> None: ...


class FileWriter(Protocol):
    """A file of the VM that is being written next to its final path."""

    fd: int
    """Writable from offset 0; owned by the writer."""

    async def commit(self) -> None:
        """Put the file into place atomically. Raises `SandboxError`."""
        ...

    async def abort(self) -> None:
        """Discard the file and leave no trace."""
        ...


class Volume(Protocol):
    """A directory outside all VMs, which several of them may have among their files at the same time."""

    async def size(self) -> int:
        """Return the total bytes of its files. A file with several names counts once."""
        ...

    async def remove(self) -> None:
        """Remove the volume with its files. No VM may have it."""
        ...


class Outlet(Protocol):
    """The outside end of the connections that leave a VM's own network."""

    def variables(self, host: str, port: int) -> Mapping[str, str]:
        """Return the variables for the VM's initial environment that lead programs to the outlet, at this address
        inside.
        """
        ...

    def open(self, listener: socket.socket) -> None:
        """Serve this non-blocking listening socket of a VM that has started. The outlet owns it until `cut`.

        It is called again at each start of the VM, but not when its port was taken.
        """
        ...

    def cut(self) -> None:
        """Close the listener and end every connection at once: the VM has been stopped."""
        ...


class Sandbox(Protocol):
    """One VM. It is started on first use; a stopped VM keeps its files."""

    @property
    def initial_env(self) -> Mapping[str, str]:
        """The environment of a session that sets none. What a session sets overrides it."""
        ...

    async def run(self, spec: RunSpec) -> RunHandle:
        """Start a command. Raises `SandboxError`."""
        ...

    async def open_terminal(self, spec: TerminalSpec) -> TerminalHandle:
        """Start a program in a new terminal. Raises `SandboxError`, ``bad_request`` when it cannot be started."""
        ...

    async def open_read(self, path: str) -> FileReader:
        """Open a file for reading. Relative paths are relative to `HOME`. Only regular files; others raise
        `SandboxError`.
        """
        ...

    async def open_write(self, path: str, size: int) -> FileWriter:
        """Start writing a file of ``size`` bytes. Missing parent directories are made (as the VM's user)."""
        ...

    async def connect(self, port: int) -> socket.socket:
        """Connect to a port of the VM's loopback: a non-blocking TCP socket. Raises `SandboxError` when nothing
        listens.
        """
        ...

    async def bind(self, volumes: Mapping[str, Volume]) -> None:
        """Bind exactly these volumes at these absolute paths from the VM's next start on.

        An idle VM is restarted for it at its next use. Raises `SandboxError` for a path that the VM needs for itself;
        then nothing has changed.
        """
        ...

    def unbound(self, path: str) -> str | None:
        """Return why the VM does not see yet what `bind` has put at this path, for people; None when it does."""
        ...

    def obstacle(self, path: str) -> str | None:
        """Return what stands in the way of the volume at this path, for people; None when nothing does."""
        ...

    def holds(self, volume: Volume) -> bool:
        """Return whether the running VM has the volume among its files, even if `bind` has taken it away."""
        ...

    async def delete(self) -> None:
        """Kill every process of the VM and remove its files. Files of volumes stay."""
        ...


class SandboxProvider(Protocol):
    """A factory of VMs."""

    name: str
    """``bubblewrap`` or ``none``."""
    confines_network: bool
    """Whether VMs have networks of their own, and no way out but their outlets; else they have this machine's."""

    async def create(self, vm_id: str, *, source: Sandbox | None = None, outlet: Outlet | None = None) -> Sandbox:
        """Create a VM with a fresh image, or with a copy of another VM's files as of this moment. The other VM may be
        running commands. Its processes are stopped during the copy and are not copied.

        An outlet is the VM's only way out; without one it has none. Where networks are not confined it is not used.
        """
        ...

    async def adopt(self, vm_id: str, *, outlet: Outlet | None = None) -> Sandbox:
        """Adopt the VM whose files an earlier process left in the same state directory. Raises `SandboxError`."""
        ...

    async def recover(self, vms: Collection[str], volumes: Collection[str]) -> Mapping[str, str]:
        """Bring the files that an earlier process left into order, before any of them is adopted.

        Returns:
            What is wrong with the files of each of these VMs that are missing or damaged. They are left as they are.

        Raises:
            SandboxError: The files of all VMs are missing, those of one of these volumes, or what was noted of steps
                makes no sense (``damaged``).
        """
        ...

    async def discard_files(self, vm_id: str) -> None:
        """Remove what there is of the files of a VM that was not adopted. Raises `SandboxError`."""
        ...

    async def sweep(self) -> None:
        """Remove what `recover` has found to belong to nothing."""
        ...

    async def adopt_volume(self, volume_id: str) -> Volume:
        """Adopt the volume whose files an earlier process left."""
        ...

    async def create_volume(self, volume_id: str) -> Volume:
        """Create an empty volume."""
        ...

    async def close(self, *, keep_files: bool = False) -> None:
        """Kill every process of every VM and remove what the provider made on the machine."""
        ...
