"""Pydantic AI: a VM as the workspace of an agent."""

from __future__ import annotations

import math
import posixpath
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from pydantic_ai.workspaces import (
    CommandResult,
    FileEntry,
    SupportsCommands,
    SupportsFilesystem,
    WorkspaceBackend,
    WorkspaceCommand,
    WorkspaceRef,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)

from arker import AsyncArker, AsyncVM, NotFoundError, RemoteFileError
from arker.entries import FileStat
from arker.errors import InvalidArgumentError

PROVIDER = "arker"


class ArkerWorkspace(WorkspaceBackend, SupportsCommands, SupportsFilesystem):
    """A workspace in a VM, which is forked by the first operation, or is the one that ``ref`` names.

        async with AsyncArker.local() as ar:
            workspace = ArkerWorkspace(ar)
            print((await workspace.run(["uname", "-s"])).stdout)
            await workspace.delete()

    As Pydantic AI has it, the VM stays when a run ends, so that a later run can go on in it: who holds ``ref`` deletes
    it, by `delete` or by `arker.AsyncVM.delete`.

    Args:
        client: The client to use.
        ref: The VM of a workspace that exists; None to fork one.
        source: The name of the VM or golden to fork.
        timeout: Seconds that a command may take which names no time itself; None for no limit.
    """

    def __init__(
        self,
        client: AsyncArker,
        *,
        ref: WorkspaceRef | None = None,
        source: str | AsyncVM = "ubuntu",
        timeout: float | None = None,
    ) -> None:
        if ref is not None and ref.provider != PROVIDER:
            raise InvalidArgumentError("ref", ref, f"expected a workspace of the provider {PROVIDER!r}")
        self._client = client
        self._source = source
        self._ref = ref
        self._timeout = timeout
        self._vm: AsyncVM | None = None
        self._directory: str | None = None
        self._lock = anyio.Lock()

    @property
    def ref(self) -> WorkspaceRef | None:
        """The VM's id, as Pydantic AI keeps it; None until the VM is forked."""
        return self._ref

    async def vm(self) -> AsyncVM:
        """Return the VM, and fork it if there is none yet."""
        async with self._lock:
            if self._vm is not None:
                return self._vm
            with anyio.CancelScope(shield=self._ref is None):  # the ref of a VM that was forked must be known
                vm = self._vm = await self._reach()
        return vm

    async def _reach(self) -> AsyncVM:
        if self._ref is None:
            vm = await self._client.fork(self._source)
            self._ref = WorkspaceRef(provider=PROVIDER, id=vm.id)
            return vm
        async with self._available():
            return await self._client.get_vm(self._ref.id)

    async def delete(self) -> None:
        """Delete the VM, if there is one."""
        if self._ref is not None:
            try:
                await self._client.vm(self._ref.id).delete()
            except NotFoundError:
                pass  # it is what was asked for

    @asynccontextmanager
    async def _available(self) -> AsyncGenerator[None, None]:
        try:
            yield
        except RemoteFileError:
            raise
        except NotFoundError as error:
            raise WorkspaceUnavailableError(f"the VM of the workspace is gone: {error}") from error

    async def working_dir(self) -> str:
        """Return the VM's home directory, in which commands start."""
        if self._directory is None:
            vm = await self.vm()
            async with self._available():
                result = await vm.run(["pwd", "-P"], cwd="~/", check=True)
            self._directory = result.stdout_text.rstrip("\n")
        return self._directory

    async def run(
        self,
        command: WorkspaceCommand,
        *,
        shell: bool = False,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> CommandResult:
        """Run a command in the working directory.

        Args:
            command: A list of arguments, or with ``shell`` a line for the shell.
            shell: Whether the command is a line for the shell.
            env: Environment variables for the command, in addition to the VM's.
            timeout: Seconds after which it is killed with all that it has started.

        Raises:
            WorkspaceTimeoutError: The command took longer than ``timeout``.
            WorkspaceUnavailableError: The VM is gone.
        """
        if isinstance(command, str) != shell:
            raise TypeError("command: expected a string with shell=True, and a list of arguments without")
        directory = await self.working_dir()
        vm = await self.vm()
        arguments = ["sh", "-c", command] if isinstance(command, str) else list(command)
        seconds = self._timeout if timeout is None else _checked(timeout)
        async with self._available():
            result = await vm.run(arguments, cwd=directory, env=env, timeout=seconds, on_cancel="kill")
        stdout, stderr = (data.decode(errors="replace") for data in (result.stdout, result.stderr))
        if result.timed_out:
            raise WorkspaceTimeoutError(f"the command took longer than {seconds} s", stdout=stdout, stderr=stderr)
        if result.exit_code is None:
            raise WorkspaceUnavailableError(f"the command has no exit code: {result.fail_reason}")
        return CommandResult(exit_code=result.exit_code, stdout=stdout, stderr=stderr)

    async def read_bytes(self, path: str) -> bytes:
        """Read a file."""
        vm = await self.vm()
        async with self._available():
            return await vm.files.read_bytes(path)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file, with missing directories above it, through a symlink if there is one."""
        vm = await self.vm()
        async with self._available():
            await vm.files.write_bytes(path, data, parents=True)

    async def stat(self, path: str) -> FileEntry:
        """Return what is at a path, through symlinks."""
        vm = await self.vm()
        async with self._available():
            return _entry(path, await vm.files.stat(path))

    async def list_dir(self, path: str) -> Sequence[FileEntry]:
        """List a directory."""
        vm = await self.vm()
        async with self._available():
            entries = [entry async for entry in vm.files.scandir(path)]
            return [_entry(entry.path, entry.stat) for entry in sorted(entries, key=lambda entry: entry.name)]

    async def make_dir(self, path: str) -> None:
        """Make a directory with those above it, unless it exists."""
        vm = await self.vm()
        async with self._available():
            await vm.files.mkdir(path, parents=True, exist_ok=True)

    async def remove(self, path: str) -> None:
        """Remove a file, a symlink itself, or a directory with all that is in it, but not the working directory."""
        path = posixpath.normpath(path)
        if posixpath.commonpath([path, await self.working_dir()]) == path:
            raise ValueError(f"path: {path!r} is the working directory, or is above it: it must stay")
        vm = await self.vm()
        async with self._available():
            if (await vm.files.stat(path, follow_symlinks=False)).is_dir:
                await vm.files.rmtree(path)
            else:
                await vm.files.remove(path)

    async def exists(self, path: str) -> bool:
        """Return whether something is at a path."""
        vm = await self.vm()
        async with self._available():
            return await vm.files.exists(path)


def _checked(timeout: float) -> float:
    if not math.isfinite(timeout) or timeout <= 0:
        raise ValueError(f"timeout: expected a positive, finite number of seconds, got {timeout!r}")
    return timeout


def _entry(path: str, stat: FileStat) -> FileEntry:
    is_dir = stat.is_dir or stat.target_kind == "directory"
    size = stat.size if stat.is_file else None
    return FileEntry(name=posixpath.basename(path.rstrip("/")), path=path, is_dir=is_dir, size=size)


__all__ = ["ArkerWorkspace"]
