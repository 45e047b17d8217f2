"""LangChain Deep Agents: a VM as the sandbox in which an agent works, for blocking programs and for asyncio."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox

import arker_sync
from arker import ArkerError, AsyncVM, FileTooLargeError, models
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

AnyVM = TypeVar("AnyVM", arker_sync.VM, AsyncVM)

_TIMEOUT: Final = 1800.0
_MAX_BYTES: Final = 64 * 1024 * 1024
_EXIT_CODE_OF_TIMEOUT: Final = 124  # that of timeout(1), which other sandboxes of Deep Agents have, too
_ERRORS: Final[tuple[tuple[type[OSError], str], ...]] = (
    (FileNotFoundError, "file_not_found"),
    (PermissionError, "permission_denied"),
    (IsADirectoryError, "is_directory"),
    (NotADirectoryError, "invalid_path"),
)


class _Sandbox(BaseSandbox, Generic[AnyVM]):
    def __init__(self, vm: AnyVM, *, timeout: float | None = _TIMEOUT, max_bytes: int = _MAX_BYTES) -> None:
        self._vm: AnyVM = vm
        self._timeout = None if timeout is None else check.check_seconds("timeout", timeout)
        self._max_bytes = check.check_integer("max_bytes", max_bytes, minimum=0)

    @property
    def id(self) -> str:
        """The VM's id."""
        vm: AnyVM = self._vm
        return vm.id

    def _seconds(self, timeout: float | None) -> float | None:
        """Return a command's time limit; as Deep Agents has it, 0 is none."""
        if timeout is None:
            return self._timeout
        return check.check_seconds("timeout", timeout) if timeout else None


class ArkerSandbox(_Sandbox[arker_sync.VM]):
    """A VM of the blocking client as the backend of an agent; its asynchronous methods work in threads.

        agent = create_deep_agent(model=model, backend=ArkerSandbox(vm))

    The VM stays its caller's: the sandbox neither forks nor deletes it.

    Args:
        vm: The VM.
        timeout: Seconds that a command may take which names no time itself; None for no limit.
        max_bytes: The largest file that `download_files` reads into memory.
    """

    def __init__(self, vm: arker_sync.VM, *, timeout: float | None = _TIMEOUT, max_bytes: int = _MAX_BYTES) -> None:
        if not isinstance(vm, arker_sync.VM):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("vm", vm, "expected a VM of arker_sync; AsyncArkerSandbox takes those of arker")
        super().__init__(vm, timeout=timeout, max_bytes=max_bytes)

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a command line in the VM's home directory, in a shell of its own.

        Args:
            command: The line for the shell.
            timeout: Seconds after which it is killed with all that it has started; 0 for no limit.
        """
        seconds = self._seconds(timeout)
        result = self._vm.run(_merged(command), cwd="~/", timeout=seconds, on_cancel="kill")
        return _response(result, seconds)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, with missing directories above them."""
        return [FileUploadResponse(path, self._upload(path, content)) for path, content in files]

    def _upload(self, path: str, content: bytes) -> str | None:
        try:
            self._vm.files.write_bytes(_absolute(path), content, parents=True)
        except ArkerError as error:
            return _code(error)
        return None

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files."""
        return [self._download(path) for path in paths]

    def _download(self, path: str) -> FileDownloadResponse:
        try:
            return FileDownloadResponse(path, self._vm.files.read_bytes(_absolute(path), max_bytes=self._max_bytes))
        except ArkerError as error:
            return FileDownloadResponse(path, error=_code(error))


class AsyncArkerSandbox(_Sandbox[AsyncVM]):
    """A VM of the asynchronous client as the backend of an agent that is awaited.

        agent = create_deep_agent(model=model, backend=AsyncArkerSandbox(vm))
        await agent.ainvoke({"messages": [{"role": "user", "content": "Which kernel is it?"}]})

    Its blocking methods raise; `ArkerSandbox` has those. A command is killed if the call is cancelled. The VM stays its
    caller's: the sandbox neither forks nor deletes it.

    Args:
        vm: The VM.
        timeout: Seconds that a command may take which names no time itself; None for no limit.
        max_bytes: The largest file that `adownload_files` reads into memory.
    """

    def __init__(self, vm: AsyncVM, *, timeout: float | None = _TIMEOUT, max_bytes: int = _MAX_BYTES) -> None:
        if not isinstance(vm, AsyncVM):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("vm", vm, "expected a VM of arker; ArkerSandbox takes those of arker_sync")
        super().__init__(vm, timeout=timeout, max_bytes=max_bytes)

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a command line in the VM's home directory, in a shell of its own.

        Args:
            command: The line for the shell.
            timeout: Seconds after which it is killed with all that it has started; 0 for no limit.
        """
        seconds = self._seconds(timeout)
        result = await self._vm.run(_merged(command), cwd="~/", timeout=seconds, on_cancel="kill")
        return _response(result, seconds)

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, with missing directories above them."""
        return [FileUploadResponse(path, await self._upload(path, content)) for path, content in files]

    async def _upload(self, path: str, content: bytes) -> str | None:
        try:
            await self._vm.files.write_bytes(_absolute(path), content, parents=True)
        except ArkerError as error:
            return _code(error)
        return None

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files."""
        return [await self._download(path) for path in paths]

    async def _download(self, path: str) -> FileDownloadResponse:
        try:
            content = await self._vm.files.read_bytes(_absolute(path), max_bytes=self._max_bytes)
        except ArkerError as error:
            return FileDownloadResponse(path, error=_code(error))
        return FileDownloadResponse(path, content)

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Refuse to block."""
        raise _blocking("execute")

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Refuse to block."""
        raise _blocking("upload_files")

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Refuse to block."""
        raise _blocking("download_files")


def _merged(command: object) -> str:
    """Return a command line whose two outputs are one, in the order in which they are written."""
    if not isinstance(command, str) or not command.strip():
        raise InvalidArgumentError("command", command, "expected a line for the shell")
    return f"exec 2>&1\n{command}"


def _response(result: models.CompletedRunResult, timeout: float | None) -> ExecuteResponse:
    output = (result.stdout + result.stderr).decode(errors="replace")
    if result.timed_out:
        note = f"Error: the command was killed after {timeout:g} s. A command that takes longer needs a larger timeout."
        return ExecuteResponse(f"{output}\n{note}" if output else note, _EXIT_CODE_OF_TIMEOUT)
    return ExecuteResponse(output, result.exit_code)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgumentError("path", path, "expected an absolute path")
    return path


def _code(error: ArkerError) -> str:
    """Return the framework's word for an error about a file, and raise one that is about the VM or the service."""
    for kind, word in _ERRORS:
        if isinstance(error, kind):
            return word
    if isinstance(error, InvalidArgumentError):
        return "invalid_path"
    if isinstance(error, (OSError, FileTooLargeError)):
        return str(error)
    raise error


def _blocking(method: str) -> TypeError:
    return TypeError(f"{method} blocks, and this VM is asynchronous: use a{method}, or ArkerSandbox")


__all__ = ["ArkerSandbox", "AsyncArkerSandbox"]
