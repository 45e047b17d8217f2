"""The choice of a VM's Python: for the agent, and as ``python3`` for its user."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from attrs import field, frozen

from arker.emulator.sandbox.base import IsolationUnavailableError
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.host.source import agent_program, compile_agent

SYSTEM = "/usr/bin/python3"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_THE_LOADER = ("LD_", "DYLD_")
_NOT_COPIED = ("__pycache__", "test", "tests", "idlelib", "site-packages", "config-*", "*.a")


@frozen(kw_only=True)
class Interpreter:
    """A Python as a VM sees it.

    Attributes:
        executable: Its path in the VM.
        prefix: Its installation, mounted there; None when it is below /usr, which every VM has.
        source: What is mounted: the installation itself, or a copy.
        program: The agent's, compiled for it.
    """

    executable: str
    prefix: str | None = None
    source: Path | None = None
    program: bytes = field(factory=agent_program, repr=False)

    @property
    def on_host(self) -> str:
        """The interpreter's path on this machine."""
        return self.executable if self.source is None else str(self.source / "bin" / Path(self.executable).name)

    def links(self) -> dict[str, str]:
        """Return the commands to offer in the VM's PATH, and their targets."""
        if self.prefix is None or self.source is None:
            python3 = shutil.which("python3", path=SYSTEM_PATH)
            return {} if python3 is None or shutil.which("python", path=SYSTEM_PATH) else {"python": python3}
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        names = ("python", "python3", f"python{version}", "pip", "pip3", f"pip{version}")
        return {name: f"{self.prefix}/bin/{name}" for name in names if os.path.lexists(self.source / "bin" / name)}


async def choose_interpreter(state_dir: Path, identity: Identity | None) -> Interpreter:
    """Choose this process's Python if VMs can use it, else the system's, else a copy of this one's installation.

    Args:
        state_dir: Where a copy would go.
        identity: Who has to be able to run it; None for the current user.
    """
    prefix = Path(sys.base_prefix)
    executable = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    loader = sorted(name for name in os.environ if name.startswith(_OF_THE_LOADER))
    if loader and await asyncio.to_thread(_compile, str(executable), identity) is None:
        # In a VM they are not set, and their targets do not exist.
        if (program := await asyncio.to_thread(_compile, SYSTEM, identity)) is not None:
            return Interpreter(executable=SYSTEM, program=program)
        raise IsolationUnavailableError(
            f"{executable} does not start without {', '.join(loader)} in its environment, which VMs do not have; nor "
            f"is there a {SYSTEM} of version 3.8 or newer. Install one, or use a Python that starts by itself."
        )
    if Path("/usr") in (prefix, *prefix.parents):
        return Interpreter(executable=str(executable))
    if identity is None or identity.can_reach(executable):
        return Interpreter(executable=str(executable), prefix=str(prefix), source=prefix)
    if (program := await asyncio.to_thread(_compile, SYSTEM, identity)) is not None:
        return Interpreter(executable=SYSTEM, program=program)
    # bwrap cannot mount what its user cannot reach, so another user's private installation has to be copied.
    copy = state_dir / "python"
    try:
        await asyncio.to_thread(_copy, prefix, copy)
    except OSError as error:
        raise IsolationUnavailableError(
            f"VMs run as uid {identity.uid}, which can reach neither {prefix} nor a {SYSTEM} of version 3.8 or newer, "
            f"and copying {prefix} to {copy} failed: {error}. Install a system-wide Python, or run as an ordinary user."
        ) from error
    return Interpreter(executable=str(executable), prefix=str(prefix), source=copy)


def _compile(executable: str, identity: Identity | None) -> bytes | None:
    if identity is None:
        return compile_agent(executable)
    return compile_agent(executable, user=identity.uid, group=identity.gid, groups=[])


def _copy(prefix: Path, copy: Path) -> None:
    if copy.exists():
        return
    # Under another name first: an interrupted copy must not be taken for a whole one.
    unfinished = copy.with_name(f"python.{os.getpid()}")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for part in (Path("bin"), Path("lib")):
        names = _NOT_COPIED if part.name == "lib" else ()
        (unfinished / part).mkdir(parents=True)
        for entry in (prefix / part).iterdir():
            wanted = part.name == "bin" or entry.name == version or ".so" in entry.suffixes
            if not wanted:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(
                    entry, unfinished / part / entry.name, symlinks=True, ignore=shutil.ignore_patterns(*names)
                )
            else:
                shutil.copy2(entry, unfinished / part / entry.name, follow_symlinks=False)
    os.rename(unfinished, copy)


__all__ = ["Interpreter", "choose_interpreter"]
