"""A session of the OpenAI Agents SDK in a VM, and its state."""

from __future__ import annotations

import io
import tarfile
import tempfile
import uuid
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import anyio
from agents.sandbox.errors import (
    ExecTimeoutError,
    ExecTransportError,
    ExposedPortUnavailableError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
    WorkspaceRootNotFoundError,
    WorkspaceWriteTypeError,
)
from agents.sandbox.session import SandboxSessionState
from agents.sandbox.session.base_sandbox_session import BaseSandboxSession
from agents.sandbox.session.mount_lifecycle import with_ephemeral_mounts_removed
from agents.sandbox.session.pty_types import (
    PtyExecUpdate,
    clamp_pty_yield_time_ms,
    resolve_pty_write_yield_time_ms,
)
from agents.sandbox.session.runtime_helpers import RESOLVE_WORKSPACE_PATH_HELPER, RuntimeHelperScript
from agents.sandbox.session.sandbox_client import BaseSandboxClientOptions
from agents.sandbox.types import ExecResult, ExposedPortEndpoint, User
from agents.sandbox.util.tar_utils import UnsafeTarMemberError, validate_tarfile
from agents.sandbox.workspace_paths import sandbox_path_str

from arker import (
    ArkerError,
    AsyncVM,
    NetworkError,
    NotFoundError,
    RateLimitedError,
    RemoteFileError,
    UnavailableError,
    WorkingDirectoryError,
)
from arker.errors import InvalidArgumentError
from arker.integrations._agents_processes import Processes

_IN_MEMORY: Final = 16 * 1024 * 1024
_YIELD: Final = 10.0
_YIELD_AFTER_INPUT: Final = 0.25


class ArkerSandboxClientOptions(BaseSandboxClientOptions):
    """What the VMs of a client are forked from, and what becomes of them."""

    type: Literal["arker"] = "arker"
    source: str = "ubuntu"
    """The name of the VM or golden to fork."""
    network: bool | None = None
    """Whether VMs reach the network; by default the server decides."""
    vcpu_count: int | None = None
    """Number of CPUs of a VM."""
    memory_mib: int | None = None
    """Memory of a VM, in MiB."""
    disk_mib: int | None = None
    """Disk of a VM, in MiB."""
    exposed_ports: tuple[int, ...] = ()
    """Ports that `resolve_exposed_port` gives addresses of."""
    keep: bool = False
    """Whether a VM stays when its session is closed, for another one to go on in it, until `ArkerSandboxClient.delete`.
    By default it is deleted, and only what the snapshot has of its workspace is taken up again."""

    @property
    def limits(self) -> dict[str, Any]:
        """What `arker.AsyncArker.fork` is told of the VM."""
        chosen = {name: getattr(self, name) for name in ("network", "vcpu_count", "memory_mib", "disk_mib")}
        return {name: value for name, value in chosen.items() if value is not None}


class ArkerSandboxSessionState(SandboxSessionState):
    """What is saved of a session: its VM, and what another one is forked from if that is gone."""

    type: Literal["arker"] = "arker"
    vm_id: str
    options: ArkerSandboxClientOptions


class ArkerSandboxSession(BaseSandboxSession):
    """A session in a VM. `ArkerSandboxClient` makes it."""

    state: ArkerSandboxSessionState

    def __init__(self, state: ArkerSandboxSessionState, vm: AsyncVM) -> None:
        self.state = state
        self.vm = vm
        self._user: str | None = None
        self._processes = Processes()

    async def _prepare_backend_workspace(self) -> None:
        await self.vm.files.mkdir(self._root, parents=True, exist_ok=True)
        self._user = (await self.vm.run(["id", "-un"], cwd="/", check=True)).stdout_text.strip()

    @property
    def _root(self) -> str:
        return self._workspace_root_path().as_posix()

    def _arguments(self, command: Sequence[str | Path]) -> list[str]:
        arguments = [str(part) for part in command]
        if arguments[:4] == ["sudo", "-u", self._user, "--"]:  # as which commands run in any case
            arguments = arguments[4:]
        return arguments

    async def _exec_internal(self, *command: str | Path, timeout: float | None = None) -> ExecResult:
        arguments = self._arguments(command)
        seconds = None if timeout is None else max(timeout, 0.001)
        with self._running(command):
            environment = await self.state.manifest.environment.resolve()
            result = await self.vm.run(arguments, cwd=self._root, env=environment, timeout=seconds, on_cancel="kill")
        if result.timed_out:
            raise ExecTimeoutError(command=command, timeout_s=timeout)
        if result.exit_code is None:
            raise ExecTransportError(command=command, message=f"the command has no exit code: {result.fail_reason}")
        return ExecResult(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)

    @contextmanager
    def _running(self, command: Sequence[str | Path]) -> Generator[None, None, None]:
        """Turn errors of running a command into those of the framework."""
        try:
            yield
        except InvalidArgumentError:
            raise
        except WorkingDirectoryError as error:
            raise WorkspaceRootNotFoundError(path=self._workspace_root_path(), cause=error) from error
        except ArkerError as error:
            raise ExecTransportError(command=command, cause=error, retryable=_retryable(error)) from error

    def supports_pty(self) -> bool:
        """Return True: commands go on between calls, in a terminal if they are to be written to."""
        return True

    async def pty_exec_start(
        self,
        *command: str | Path,
        timeout: float | None = None,
        shell: bool | list[str] = True,
        user: str | User | None = None,
        tty: bool = False,
        yield_time_s: float | None = None,
        max_output_tokens: int | None = None,
    ) -> PtyExecUpdate:
        """Start a command, and return what it prints in the first seconds, see `BaseSandboxSession.pty_exec_start`."""
        arguments = self._arguments(self._prepare_exec_command(*command, shell=shell, user=user))
        milliseconds = clamp_pty_yield_time_ms(int(1000 * (_YIELD if yield_time_s is None else yield_time_s)))
        with self._running(command):
            environment = await self.state.manifest.environment.resolve()
            number = await self._processes.start(
                self.vm, arguments, cwd=self._root, env=environment, timeout=timeout, tty=tty
            )
            try:
                return await self._processes.collect(number, milliseconds / 1000, max_output_tokens)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._processes.end(number)  # of which its caller will not know the number
                raise

    async def pty_write_stdin(
        self,
        *,
        session_id: int,
        chars: str,
        yield_time_s: float | None = None,
        max_output_tokens: int | None = None,
    ) -> PtyExecUpdate:
        """Write to a command's terminal, and return what it prints then, see `BaseSandboxSession.pty_write_stdin`."""
        milliseconds = resolve_pty_write_yield_time_ms(
            yield_time_ms=int(1000 * (_YIELD_AFTER_INPUT if yield_time_s is None else yield_time_s)),
            input_empty=not chars,
        )
        with self._running(("write_stdin", str(session_id))):
            await self._processes.write(session_id, chars)
            return await self._processes.collect(session_id, milliseconds / 1000, max_output_tokens)

    async def pty_terminate_all(self) -> None:
        """Kill the commands that go on."""
        await self._processes.end_all()

    def _runtime_helpers(self) -> tuple[RuntimeHelperScript, ...]:
        return (RESOLVE_WORKSPACE_PATH_HELPER,)

    def _current_runtime_helper_cache_key(self) -> object | None:
        return self.vm.id

    async def _validate_path_access(self, path: Path | str, *, for_write: bool = False) -> Path:
        return await self._validate_remote_path_access(path, for_write=for_write)

    async def read(self, path: Path, *, user: str | User | None = None) -> io.IOBase:
        """Read a file of the workspace, see `BaseSandboxSession.read`."""
        target = await (self._check_read_with_exec(path, user=user) if user else self._validate_path_access(path))
        with _reading(path):
            return io.BytesIO(await self.vm.files.read_bytes(sandbox_path_str(target), max_bytes=None))

    async def _read_bounded(self, path: Path, *, max_bytes: int) -> bytes:
        target = await self._validate_path_access(path)
        with _reading(path):
            async with self.vm.open_read(sandbox_path_str(target)) as stream:
                return await stream.read(max_bytes)

    async def write(self, path: Path, data: io.IOBase, *, user: str | User | None = None) -> None:
        """Write a file of the workspace, with missing directories above it, see `BaseSandboxSession.write`."""
        if user:
            await self._check_write_with_exec(path, user=user)
        content: object = data.read()
        if isinstance(content, str):
            content = content.encode()
        if not isinstance(content, (bytes, bytearray)):
            raise WorkspaceWriteTypeError(path=path, actual_type=type(content).__name__)
        target = await self._validate_path_access(path, for_write=True)
        try:
            await self.vm.files.write_bytes(sandbox_path_str(target), content, parents=True)
        except ArkerError as error:
            raise WorkspaceArchiveWriteError(path=path, cause=error, retryable=_retryable(error)) from error

    async def running(self) -> bool:
        """Return whether the session has been started, and the VM is there."""
        if not self.state.workspace_root_ready:
            return False
        try:
            await self.vm.refresh()
        except NotFoundError:
            return False
        return True

    async def persist_workspace(self) -> io.IOBase:
        """Return the workspace as a tar archive, without what is ephemeral."""
        return await with_ephemeral_mounts_removed(
            self,
            self._archive,
            error_path=self._workspace_root_path(),
            error_cls=WorkspaceArchiveReadError,
            operation_error_context_key="snapshot_error_before_remount_corruption",
        )

    async def _archive(self) -> io.IOBase:
        root = self._workspace_root_path()
        left_out = [f"--exclude=./{path.as_posix()}" for path in sorted(self._persist_workspace_skip_relpaths())]
        archive: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            async with self._in_tmp() as path:
                result = await self.vm.run(["tar", *left_out, "-C", self._root, "-cf", path, "."], cwd="/")
                if result.exit_code != 0:
                    raise WorkspaceArchiveReadError(path=root, context=_context(result.stderr, result.exit_code))
                await self.vm.download(path, archive)
            archive.seek(0)
        except BaseException as error:
            archive.close()
            if isinstance(error, ArkerError):
                raise WorkspaceArchiveReadError(path=root, cause=error, retryable=_retryable(error)) from error
            raise
        return archive  # type: ignore[no-any-return]

    async def hydrate_workspace(self, data: io.IOBase) -> None:
        """Unpack a tar archive into the workspace. One that leads out of it is refused before anything is sent."""
        root = self._workspace_root_path()
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as archive:
            while piece := data.read(1024 * 1024):
                archive.write(piece)
            archive.seek(0)
            _check_archive(archive, root)
            archive.seek(0)
            try:
                async with self._in_tmp() as path:
                    await self.vm.upload(archive, path)
                    await self.vm.files.mkdir(self._root, parents=True, exist_ok=True)
                    result = await self.vm.run(["tar", "-C", self._root, "-xf", path], cwd="/")
            except ArkerError as error:
                raise WorkspaceArchiveWriteError(path=root, cause=error, retryable=_retryable(error)) from error
        if result.exit_code != 0:
            raise WorkspaceArchiveWriteError(path=root, context=_context(result.stderr, result.exit_code))

    @asynccontextmanager
    async def _in_tmp(self) -> AsyncGenerator[str, None]:
        path = f"/tmp/arker-workspace-{uuid.uuid4().hex}.tar"  # noqa: S108 - in the VM
        try:
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await self.vm.run(["rm", "-f", path], cwd="/", deadline=10)

    async def _resolve_exposed_port(self, port: int) -> ExposedPortEndpoint:
        try:
            url = (await self.vm.tunnel(port).open()).url
        except ArkerError as error:
            raise self._unavailable(port, str(error)) from error
        parts = urlsplit(url)
        if parts.path.strip("/") or parts.hostname is None:
            raise self._unavailable(port, "the address of the tunnel has a path, which an endpoint has not")
        tls = parts.scheme == "https"
        return ExposedPortEndpoint(parts.hostname, parts.port or (443 if tls else 80), tls, parts.query)

    def _unavailable(self, port: int, detail: str) -> ExposedPortUnavailableError:
        return ExposedPortUnavailableError(
            port=port,
            exposed_ports=self.state.exposed_ports,
            reason="backend_unavailable",
            context={"backend": "arker", "detail": detail},
        )

    async def discard(self) -> None:
        """Delete the VM after a failure, if it has no workspace yet that could be lost."""
        if not self.state.workspace_root_ready and not self._workspace_state_preserved_on_start():
            try:
                await self.delete()
            except ArkerError:
                pass  # the failure before is what the caller is told; `reap` deletes the VM

    async def _shutdown_backend(self) -> None:
        if self.state.options.keep:
            self.vm.keep()
        else:
            await self.delete()

    async def delete(self) -> None:
        """Delete the VM, unless it is gone."""
        with anyio.CancelScope(shield=True):
            try:
                await self.vm.delete()
            except NotFoundError:
                pass  # it is what was asked for


@contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    """Turn errors of reading a file into those of the framework."""
    try:
        yield
    except FileNotFoundError as error:
        raise WorkspaceReadNotFoundError(path=path, cause=error) from error
    except ArkerError as error:
        raise WorkspaceArchiveReadError(path=path, cause=error, retryable=_retryable(error)) from error


def _check_archive(archive: Any, root: Path) -> None:
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            validate_tarfile(tar, allow_external_symlink_targets=False)
    except (UnsafeTarMemberError, tarfile.TarError) as error:
        context = {"reason": "unsafe_or_invalid_tar", "detail": str(error)}
        raise WorkspaceArchiveWriteError(path=root, context=context, cause=error) from error


def _context(stderr: bytes, exit_code: int | None) -> dict[str, object]:
    return {"backend": "arker", "exit_code": exit_code, "stderr": stderr[-4096:].decode(errors="replace")}


def _retryable(error: ArkerError) -> bool | None:
    if isinstance(error, (InvalidArgumentError, NotFoundError, RemoteFileError)):
        return False
    passing = isinstance(error, (NetworkError, RateLimitedError, UnavailableError))
    return True if passing and error.outcome == "not_started" else None


__all__ = ["ArkerSandboxClientOptions", "ArkerSandboxSession", "ArkerSandboxSessionState"]
