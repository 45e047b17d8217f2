"""harbor: ``--env arker.integrations.harbor:ArkerEnvironment`` runs each trial in a VM of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from harbor.environments.base import BaseEnvironment, ExecResult, SandboxBuildFailedError
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities
from harbor.environments.definition import (
    COMPOSE_FILE_NAME,
    DOCKERFILE_NAME,
    effective_exec_cwd,
    require_agent_environment_definition,
    should_use_prebuilt_docker_image,
)
from harbor.environments.options import EnvironmentOptions
from harbor.environments.snowflake.dockerfile_replay import ReplayPlan
from harbor.models.task.config import (
    NetworkAllowlistEntryType,
    NetworkMode,
    NetworkPolicy,
    classify_network_allowlist_entry,
)
from pydantic import Field

from arker import AsyncVM, models
from arker.integrations._images import build, read_dockerfile, read_variables
from arker.integrations._loops import LoopClient, loop_client

_ROOT: Final = {"root", "0", 0}


class ArkerOptions(EnvironmentOptions):
    """What ``--ek name=value`` sets."""

    source: str | None = Field(default=None, description="The VM or golden to fork in place of the task's image.")


class ArkerEnvironment(BaseEnvironment):
    """A VM as the environment of a trial.

    It is made of the task's image. What a Dockerfile does to its base image is done once in each run of harbor, in a VM
    of which those of the trials are forks. With ``source`` that VM is forked, and of the Dockerfile only ``ENV`` and
    ``WORKDIR`` count.
    """

    options_model: ClassVar[type[EnvironmentOptions] | None] = ArkerOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._plan: ReplayPlan | None = None
        self._vm: AsyncVM | None = None
        self._stack = AsyncExitStack()
        self._users: set[str] = set()
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        """Return the name of the kind of environment."""
        return "arker"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """What a VM can do of what tasks may ask for."""
        return EnvironmentCapabilities(
            disable_internet=True,
            network_allowlist=True,
            network_allowlist_hostnames=True,
            network_allowlist_wildcard_hostnames=True,
            network_allowlist_ipv4_addresses=True,
            network_allowlist_ipv6_addresses=True,
            dynamic_network_policy=True,
        )

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities | None:
        """Return what of a task's resources is a limit: a VM has as many CPUs and as much memory as the task says."""
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True)

    @property
    def vm(self) -> AsyncVM:
        """The VM, once the environment has started."""
        if self._vm is None:
            raise RuntimeError("the environment has not started, or has stopped")
        return self._vm

    def validate_network_policy_support(self, network_policy: NetworkPolicy | None = None) -> None:
        """Refuse a policy that a VM cannot have exactly: a host is allowed together with its subdomains."""
        super().validate_network_policy_support(network_policy)
        policy = network_policy or self.network_policy
        if policy.network_mode == NetworkMode.ALLOWLIST:
            kinds = {host: classify_network_allowlist_entry(host) for host in policy.allowed_hosts}
            hosts = {host for host, kind in kinds.items() if kind == NetworkAllowlistEntryType.HOSTNAME}
            below = {host[2:] for host, kind in kinds.items() if kind == NetworkAllowlistEntryType.WILDCARD_HOSTNAME}
            for host in sorted(hosts ^ below):
                raise ValueError(
                    f"allowed_hosts: a VM reaches a host and its subdomains: expected {host!r} and '*.{host}'"
                )

    def _validate_definition(self) -> None:
        require_agent_environment_definition(self.environment_dir, docker_image=self.task_env_config.docker_image)
        if (self.environment_dir / COMPOSE_FILE_NAME).exists():
            raise SandboxBuildFailedError(
                f"{self.environment_dir / COMPOSE_FILE_NAME}: a VM has no services of compose"
            )
        if self._dockerfile.exists():
            self._plan = read_dockerfile(self._dockerfile)

    @property
    def _dockerfile(self) -> Path:
        return self.environment_dir / DOCKERFILE_NAME

    async def start(self, force_build: bool) -> None:
        """Fork the VM.

        Args:
            force_build: Whether to follow the Dockerfile even if the task names an image that is made already.
        """
        shared = await loop_client()
        fork = await self._forking(shared, force_build)
        vm = await fork(
            network=_network(self.network_policy),
            vcpu_count=self._effective_cpus,
            memory_mib=self._effective_memory_mb,
            disk_mib=self._effective_storage_mb,
        )
        self._vm = await self._stack.enter_async_context(vm)
        self._users = set((await vm.run("id -u; id -un", cwd="/", check=True)).stdout_text.split())
        if self._plan is not None:
            self._plan = read_dockerfile(self._dockerfile, await read_variables(vm))
        workdir = self._directory(None)
        await self.ensure_dirs(self._mount_targets(writable_only=True))
        if workdir is not None:
            await vm.files.mkdir(workdir, parents=True, exist_ok=True)
        await self._upload_environment_dir_after_start()

    async def _forking(self, shared: LoopClient, force_build: bool) -> Callable[..., Any]:
        source = self.options.source if isinstance(self.options, ArkerOptions) else None
        if source is not None:
            return partial(shared.client.fork, source)
        image, plan = self.task_env_config.docker_image, self._plan
        if plan is None or should_use_prebuilt_docker_image(
            self.environment_dir, docker_image=image, force_build=force_build
        ):
            return partial(shared.client.fork, image=image)
        vm = await shared.prepared(
            (self.environment_id, plan.base_image),
            partial(shared.client.fork, image=plan.base_image),
            partial(build, dockerfile=self._dockerfile),
        )
        return vm.fork

    async def stop(self, delete: bool) -> None:
        """Delete the VM, unless it is to be kept."""
        if self._vm is not None and not delete:
            self._vm.keep()
        self._vm = None
        await self._stack.aclose()

    async def _apply_network_policy(self, network_policy: NetworkPolicy) -> None:
        await self.vm.update(network=_network(network_policy))

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """Run a command, see `BaseEnvironment.exec`. It is killed if the call is cancelled.

        Args:
            command: The line for bash.
            cwd: Its directory; by default that of the task or of its Dockerfile, else the VM's home directory.
            env: Environment variables in addition to those of the Dockerfile, the task and the trial.
            timeout_sec: Seconds after which it is killed with all that it has started.
            user: root, or the VM's own user; a VM has no others to run commands as.
        """
        name = self._resolve_user(user)
        if name is not None and name not in _ROOT and str(name) not in self._users:
            raise RuntimeError(f"user {name!r}: commands in a VM run as its own user, {' or '.join(self._users)}")
        emit = self._output_callback()
        variables = {**(self._plan.env if self._plan is not None else {}), **(self._merge_env(env) or {})}
        result = await self.vm.run(
            ["bash", "-c", command],
            cwd=self._directory(cwd) or "~/",
            env=variables,
            timeout=timeout_sec or None,
            on_stdout=None if emit is None else lambda text: emit(text, "stdout"),
            on_stderr=None if emit is None else lambda text: emit(text, "stderr"),
            on_cancel="kill",
        )
        if result.timed_out:
            raise RuntimeError(f"Command timed out after {timeout_sec} seconds")
        if result.exit_code is None:
            raise RuntimeError(f"the command has no exit code: {result.fail_reason}")
        stdout, stderr = (data.decode(errors="replace") for data in (result.stdout, result.stderr))
        return ExecResult(stdout=stdout, stderr=stderr, return_code=result.exit_code)

    def _directory(self, cwd: str | None) -> str | None:
        return effective_exec_cwd(cwd, self.task_env_config.workdir, self._plan.workdir if self._plan else None)

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        """Write a local file into the VM, with missing directories above it."""
        await self.vm.upload(Path(source_path), target_path)

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        """Write a local directory into the VM, beside what is there."""
        (await self.vm.upload_dir(Path(source_dir), target_dir)).raise_for_failures()

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        """Write a file of the VM to this machine, with missing directories above it."""
        Path(target_path).parent.mkdir(parents=True, exist_ok=True)
        await self.vm.download(source_path, Path(target_path))

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """Write a directory of the VM to this machine, beside what is there."""
        (await self.vm.download_dir(source_dir, Path(target_dir))).raise_for_failures()


def _network(policy: NetworkPolicy) -> models.NetworkPolicyInput:
    if policy.network_mode == NetworkMode.ALLOWLIST:
        return models.NetworkPolicyAllow(allow=tuple(policy.allowed_hosts))
    return policy.network_mode == NetworkMode.PUBLIC


__all__ = ["ArkerEnvironment", "ArkerOptions"]
