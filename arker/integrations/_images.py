"""What a Dockerfile makes of its base image, made in a VM: harbor's tasks are defined by one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harbor.environments.base import SandboxBuildFailedError
from harbor.environments.snowflake.dockerfile_replay import (
    CopyStep,
    ReplayPlan,
    RunStep,
    UnsupportedDockerfileError,
    plan_from_dockerfile,
)

from arker import AsyncVM

_ROOT: Final = {None, "root", "0"}
_OF_THE_SHELL: Final = {"_", "OLDPWD", "PWD", "SHLVL"}


def read_dockerfile(path: Path, variables: Mapping[str, str] | None = None) -> ReplayPlan:
    """Read a Dockerfile, and refuse one that asks for what a VM cannot be given.

    Args:
        path: The Dockerfile.
        variables: The environment variables of its base image, which it may name, as in ``ENV PATH=/opt/bin:$PATH``.

    Returns:
        What it says. The environment of a command has in it what the Dockerfile sets, not what the base image does.

    Raises:
        SandboxBuildFailedError: It has several stages, other users, or an instruction that is not known.
    """
    try:
        plan = plan_from_dockerfile(path, base_env=dict(variables or {}))
    except UnsupportedDockerfileError as error:
        raise SandboxBuildFailedError(f"{path}: {error}") from error
    if (path.parent / ".dockerignore").exists() and any(isinstance(step, CopyStep) for step in plan.steps):
        raise SandboxBuildFailedError(f"{path.parent / '.dockerignore'}: what COPY leaves out cannot be followed")
    for step in plan.steps:
        if isinstance(step, RunStep) and step.user not in _ROOT:
            raise SandboxBuildFailedError(f"{path}: USER {step.user}: commands in a VM run as its own user")
        if isinstance(step, CopyStep) and (step.chown or step.chmod):
            raise SandboxBuildFailedError(f"{path}: COPY to {step.dest}: --chown and --chmod cannot be followed")
    if plan.user not in _ROOT:
        raise SandboxBuildFailedError(f"{path}: USER {plan.user}: commands in a VM run as its own user")
    for environment in [plan.env, *(step.env for step in plan.steps if isinstance(step, RunStep))]:
        for name, value in (variables or {}).items():
            if environment.get(name) == value:
                del environment[name]
    return plan


async def read_variables(vm: AsyncVM) -> dict[str, str]:
    """Return the environment variables that commands in a VM have."""
    # Not `env -0`, which not all images have.
    result = await vm.run("cat /proc/self/environ", cwd="/", check=True)
    pairs = (entry.split("=", 1) for entry in result.stdout.decode(errors="replace").split("\0") if "=" in entry)
    return {name: value for name, value in pairs if name not in _OF_THE_SHELL}


async def build(vm: AsyncVM, dockerfile: Path) -> None:
    """Do in a VM, which was made of the base image, what a Dockerfile says.

    Args:
        vm: The VM.
        dockerfile: The Dockerfile, which copies from the directory that it is in.

    Raises:
        SandboxBuildFailedError: A command failed, or there is nothing to copy.
    """
    for step in read_dockerfile(dockerfile, await read_variables(vm)).steps:
        if isinstance(step, CopyStep):
            await _copy(vm, step, dockerfile.parent)
            continue
        result = await vm.run(["sh", "-c", step.command], cwd=step.workdir, env=step.env, on_cancel="kill")
        if result.exit_code != 0:
            end = (result.stdout + result.stderr)[-2000:].decode(errors="replace")
            raise SandboxBuildFailedError(f"RUN {step.command}: exit code {result.exit_code}: {end}")


async def _copy(vm: AsyncVM, step: CopyStep, context: Path) -> None:
    found = [path for source in step.sources for path in _find(source, context)]
    into = step.dest_is_dir or len(found) > 1 or await vm.files.is_dir(step.dest)
    for path in found:
        if path.is_dir():
            (await vm.upload_dir(path, step.dest)).raise_for_failures()
        else:
            await vm.upload(path, posixpath.join(step.dest, path.name) if into else step.dest)


def _find(source: str, context: Path) -> list[Path]:
    pattern = source.strip("/").removeprefix("./") or "."
    found = sorted(context.glob(pattern)) if pattern != "." else [context]
    if not found:
        raise SandboxBuildFailedError(f"COPY {source}: {context} has no such file")
    if not all(path.resolve().is_relative_to(context.resolve()) for path in found):
        raise SandboxBuildFailedError(f"COPY {source}: it leads out of {context}")
    return found


__all__ = ["build", "read_dockerfile", "read_variables"]
