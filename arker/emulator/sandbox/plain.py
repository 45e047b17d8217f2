"""VMs without isolation: commands run as the server's own user, in a plain directory for each VM.

Only what the server hands over is mapped: paths of files, HOME, TMPDIR and the working directory. An absolute path
inside a command means the host's. A volume is a symlink in the VM's directory, and so is seen at once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.base import HOME, IsolationUnavailableError, Outlet, Sandbox
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.machine import Launch, Limits
from arker.emulator.sandbox.host.provider import AgentProvider, require_owner
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.tree import Tree
from arker.emulator.sandbox.trees import DirectoryStorage
from arker.emulator.sandbox.volumes import Volumes


class UnprotectedWarning(UserWarning):
    """Commands of "VMs" run on this machine with all rights of the current user."""


class PlainProvider(AgentProvider):
    """The `SandboxProvider` of ``isolation="none"``."""

    name = "none"
    confines_network = False

    def __init__(
        self,
        storage: DirectoryStorage,
        volumes: DirectoryStorage,
        bash: str,
        limits: Limits,
        lasting: Path | None = None,
    ) -> None:
        super().__init__(storage, volumes, lasting=lasting)
        self._limits = limits
        self._bash = bash
        self._links: dict[Path, dict[str, Path]] = {}
        """Of each tree, the links to volumes in it."""

    @classmethod
    async def open(cls, state_dir: Path, limits: Limits | None = None, *, lasting: Path | None = None) -> PlainProvider:
        """Open a provider that keeps the VMs' directories under ``lasting``, or else under ``state_dir``."""
        bash = shutil.which("bash")
        if bash is None:
            raise IsolationUnavailableError("commands run in bash, which is not on PATH: install it")
        warnings.warn(
            "isolation is off: commands run unprotected, as the current user, on this machine",
            UnprotectedWarning,
            stacklevel=2,
        )
        base = await asyncio.to_thread((lasting or state_dir).resolve)
        await asyncio.to_thread(require_owner, base, os.geteuid())
        storage = DirectoryStorage(
            base / "vms", identity=None, tool_prefix=(), furnish=_furnish, lasting=lasting is not None
        )
        volumes = DirectoryStorage(
            base / "volumes", identity=None, tool_prefix=(), furnish=None, lasting=lasting is not None
        )
        return cls(storage, volumes, bash, limits or Limits(), lasting)

    async def create(self, vm_id: str, *, source: Sandbox | None = None, outlet: Outlet | None = None) -> AgentSandbox:
        sandbox = await super().create(vm_id, source=source, outlet=outlet)
        if isinstance(source, AgentSandbox):  # the links have been copied with the other files
            self._links[sandbox.tree.path] = dict(self._links.get(source.tree.path, {}))
        return sandbox

    def _inside(self, tree: Tree) -> Inside:
        paths = _Paths(str(tree.path))
        return Inside(
            env=_environment(paths),
            bash=self._bash,
            to_inside=paths.to_inside,
            to_outside=paths.to_outside,
            restarts=False,
        )

    async def _launch(self, tree: Tree, volumes: Volumes) -> Launch:
        tree.furnish()
        links = self._links.setdefault(tree.path, {})
        for path in [path for path in links if path not in volumes or links[path] != volumes[path].path]:
            _unlink(tree.path, path, links.pop(path))
        refused: dict[str, str] = {}
        for path, volume in volumes.items():
            try:
                _link(tree.path, path, volume.path)
                links[path] = volume.path
            except OSError as error:
                refused[path] = f"{path} of the VM is taken: {error.strerror}"
        return Launch(
            python=sys.executable,
            max_open_files=self._limits.open_files,
            # The agent's own interpreter may need them to start; commands do not get them.
            env={name: value for name, value in os.environ.items() if name.startswith(("LD_", "DYLD_"))},
            refused=refused,
            at_start=self._at_start,
        )


def _link(root: Path, path: str, volume: Path) -> None:
    place = Path(root, path.lstrip("/"))
    if place.is_symlink() and place.readlink().name == volume.name:
        if place.readlink() == volume:
            return
        place.unlink()  # the server's directory has been moved
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        place.rmdir()  # an empty directory is no obstacle, everything else is
    place.symlink_to(volume)


def _unlink(root: Path, path: str, volume: Path) -> None:
    place = Path(root, path.lstrip("/"))
    with suppress(OSError):
        if place.readlink() == volume:
            place.unlink()


@frozen
class _Paths:
    """The paths of a VM: those of the host below a directory."""

    root: str

    def to_inside(self, path: str) -> str:
        # `..` must not lead out of the directory, as it does not lead above a real root.
        return self.root + os.path.normpath("/" + path.lstrip("/"))

    def to_outside(self, path: str) -> str:
        return path[len(self.root) :] or "/" if (path + "/").startswith(self.root + "/") else path


def _furnish(path: Path) -> None:
    for name in (HOME.lstrip("/"), "tmp"):
        (path / name).mkdir(parents=True)


def _environment(paths: _Paths) -> dict[str, str]:
    # Not the server's environment: there may be keys in it.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "USER", "LOGNAME", "TZ") if name in os.environ}
    return {**kept, "SHELL": "/bin/bash", "HOME": paths.to_inside(HOME), "TMPDIR": paths.to_inside("/tmp")}  # noqa: S108


__all__ = ["PlainProvider", "UnprotectedWarning"]
