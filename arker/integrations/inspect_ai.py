"""Inspect: ``sandbox="arker"`` gives each sample a VM, forked from one that is prepared for the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, overload

import anyio
import yaml
from attrs import define, field
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from arker import AsyncArker, AsyncVM, FileTooLargeError, NotFoundError, RemoteFileError
from arker.integrations._shared import make_client

_CANNOT_BE_EXECUTED = 126


class ArkerSandboxConfig(BaseModel, frozen=True):
    """What the VMs of a task are forked from, as a value or as the file ``arker.yaml`` beside the task.

    Task(..., sandbox=SandboxEnvironmentSpec("arker", ArkerSandboxConfig(setup="pip install numpy")))
    """

    model_config = ConfigDict(extra="forbid")

    source: str = "ubuntu"
    """The name of the VM or golden to fork."""
    setup: str | None = None
    """A shell command that prepares one VM, of which those of the samples are forks."""
    network: bool | None = None
    """Whether VMs reach the network; by default the server decides."""
    vcpu_count: int | None = None
    """Number of CPUs of a VM."""
    memory_mib: int | None = None
    """Memory of a VM, in MiB."""
    disk_mib: int | None = None
    """Disk of a VM, in MiB."""

    @property
    def _limits(self) -> dict[str, Any]:
        chosen = self.model_dump(include={"network", "vcpu_count", "memory_mib", "disk_mib"})
        return {name: value for name, value in chosen.items() if value is not None}


@define
class _Task:
    """The client of the tasks with a configuration, and the VM that their samples are forked from."""

    config: ArkerSandboxConfig
    client: AsyncArker
    prepared: AsyncVM | None = None
    users: int = field(default=1)


_tasks: dict[ArkerSandboxConfig | Path, _Task] = {}
"""What is there for the tasks that are going on. Inspect names the configuration in each call, and nothing else: the
name of the task is another one at the start and the end of a run. A file is known by its path, as it may be edited
while the task goes on."""


@sandboxenv(name="arker")
class ArkerSandboxEnvironment(SandboxEnvironment):
    """A VM as Inspect's sandbox."""

    def __init__(self, vm: AsyncVM) -> None:
        """Wrap a VM."""
        super().__init__()
        self.vm = vm
        self._users: frozenset[str] | None = None

    @classmethod
    def config_files(cls) -> list[str]:
        """Return the names of files that Inspect looks for beside a task."""
        return ["arker.yaml"]

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """Read a configuration from what Inspect has written of it."""
        return ArkerSandboxConfig.model_validate(config)

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """Make a client, and prepare the VM that samples are forked from, unless a task with this configuration has."""
        key = _key(config)
        if key in _tasks:
            _tasks[key].users += 1
            return
        chosen = _read(key) if isinstance(key, Path) else key
        task = _tasks[key] = _Task(chosen, make_client())
        try:
            if chosen.setup is not None:
                task.prepared = await task.client.fork(chosen.source, **chosen._limits)
                await task.prepared.run(["sh", "-c", chosen.setup], cwd="~/", check=True)
        except BaseException:
            await cls.task_cleanup(task_name, config, cleanup=True)
            raise

    @classmethod
    async def task_cleanup(cls, task_name: str, config: SandboxEnvironmentConfigType | None, cleanup: bool) -> None:
        """Delete the prepared VM, and close the client, unless another task has the same configuration."""
        key = _key(config)
        task = _tasks.get(key)
        if task is None:
            return
        task.users -= 1
        if task.users:
            return
        del _tasks[key]
        with anyio.CancelScope(shield=True):
            try:
                if task.prepared is not None:
                    await task.prepared.delete()
            finally:
                await task.client.aclose()

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Fork a VM for a sample."""
        task = _tasks[_key(config)]
        source = task.config.source if task.prepared is None else task.prepared
        return {"default": cls(await task.client.fork(source, **task.config._limits))}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Delete the VM of a sample."""
        with anyio.CancelScope(shield=True):
            for environment in environments.values():
                try:
                    await environment.as_type(cls).vm.delete()
                except NotFoundError:
                    pass  # it is what was asked for

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """Delete a VM by its id, or all that killed programs have left behind."""
        async with make_client() as client:
            if id is None:
                await client.reap()
            else:
                await client.vm(id).delete()

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command, see `SandboxEnvironment.exec`. A command is killed if the call is cancelled.

        Args:
            cmd: The command's arguments.
            input: Its standard input.
            cwd: Its directory: absolute, or relative to the VM's home directory.
            env: Environment variables in addition to the VM's.
            user: The VM's own user, by name or number; a VM has no others to run commands as.
            timeout: Seconds after which it is killed with all that it has started.
            timeout_retry: Without effect: a command that has run into its time is not run again.
            concurrency: Without effect: what is local to this machine is a request.
        """
        if user is not None and user not in await self._own_users():
            raise SandboxUserUnsupportedError(f"user {user!r}: commands run as the VM's own user")
        try:
            result = await self.vm.run(
                cmd, input=input, cwd=cwd or "~/", env=env, timeout=timeout or None, on_cancel="kill"
            )
        except NotFoundError as error:
            if isinstance(error, RemoteFileError):
                raise
            raise SandboxUnavailableError(f"the VM is gone: {error}") from error
        if result.timed_out:
            raise TimeoutError(f"the command took longer than {timeout} s")
        if result.exit_code is None:
            raise SandboxUnavailableError(f"the command has no exit code: {result.fail_reason}")
        stdout, stderr = _limited(result.stdout), _limited(result.stderr)
        if result.exit_code == _CANNOT_BE_EXECUTED and "permission denied" in stderr.lower():
            raise PermissionError(stderr)
        return ExecResult(result.exit_code == 0, result.exit_code, stdout, stderr)

    async def _own_users(self) -> frozenset[str]:
        if self._users is None:
            names = (await self.vm.run("id -u; id -un", cwd="~/")).stdout_text
            self._users = frozenset(names.split())
        return self._users

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, with missing directories above it."""
        data = contents.encode() if isinstance(contents, str) else contents
        await self.vm.files.write_bytes(file, data, parents=True)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file, as UTF-8 or as bytes."""
        try:
            data = await self.vm.files.read_bytes(file, max_bytes=SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except FileTooLargeError as error:
            limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR
            raise OutputLimitExceededError(limit_str=limit, truncated_output=None) from error
        return data.decode() if text else data


def _key(config: SandboxEnvironmentConfigType | None) -> ArkerSandboxConfig | Path:
    if config is None:
        return ArkerSandboxConfig()
    if isinstance(config, ArkerSandboxConfig):
        return config
    if isinstance(config, BaseModel):
        raise TypeError(f"config: expected an ArkerSandboxConfig or a file's path, got {type(config).__name__}")
    return Path(config).absolute()


def _read(path: Path) -> ArkerSandboxConfig:
    text = path.read_text(encoding="utf-8")
    return ArkerSandboxConfig.model_validate(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text) or {})


def _limited(output: bytes) -> str:
    """Return the end of the output, as much as Inspect takes."""
    return output[-SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE :].decode(errors="replace")


__all__ = ["ArkerSandboxConfig", "ArkerSandboxEnvironment"]
