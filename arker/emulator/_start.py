"""A clean start of the server's process, independent of the state that survives ``exec``.

A new program has the signal dispositions and mask, the descriptors, the working directory, the limits and the file mode
mask of the program that starts it, and a library cannot know how that program has changed them. This module has both
sides: what the parent passes on, and what the server's process does first. A VM's commands are started by the server,
whose state is known by then. Its agent resets what its own Python interpreter changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from arker.errors import EmulatorError

MARK: Final = "ARKER_EMULATOR_STARTED_BY"
"""A variable in the environment of a process started as a server, until it has shown that it is one."""

# The child imports what the parent imports, wherever that comes from, a checkout on ``sys.path`` included; and nothing
# from the current directory, where ``python -m`` would pick up a stray ``json.py``.
_BOOT: Final = """\
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module("arker.emulator", run_name="__main__", alter_sys=True)
"""
_TRIAL: Final = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import arker.emulator.server.service
"""
_TRIAL_PATIENCE: Final = 30.0
_INTERPRETER: Final = re.compile(r"(python|pypy)[0-9.]*[a-z]?(\.exe)?", re.IGNORECASE)
_FIRST_OF_OURS: Final = 3


# --- the parent's side ---


def server_command() -> list[str]:
    """Return the command line of the server's process, up to its own arguments.

    Raises:
        EmulatorError: No Python interpreter was found to run it.
    """
    if MARK in os.environ:
        # Without this check, an application that is mistaken for an interpreter would start itself endlessly.
        raise EmulatorError(
            f"this process was started as the embedded backend of process {os.environ[MARK]}, but runs the application "
            f"again: sys.executable ({sys.executable!r}) is no Python interpreter. {_WITHOUT_ONE}"
        )
    path = json.dumps(import_path())
    return [find_python(path), "-I", "-X", "utf8", "-c", _BOOT, path]


def server_environment() -> dict[str, str]:
    """Return the environment of the server's process."""
    return {**os.environ, "PATH": absolute_path(os.environ), MARK: str(os.getpid())}


def start_server(
    command: Sequence[str], streams: tuple[int, int, int], descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start the server's process with these standard streams, and with further descriptors of this process."""
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=descriptors,
        env=server_environment(),
        cwd="/",  # this process's working directory may have been deleted
        # Ctrl-C must reach the parent only, which then stops the server.
        start_new_session=True,
    )


def absolute_path(environment: Mapping[str, str]) -> str:
    """Return ``PATH`` without the entries that depend on the working directory."""
    entries = environment.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry)) or "/nonexistent"


def import_path() -> list[str]:
    """Return the parent's search path, made absolute, with the directory that contains this package."""
    root = str(Path(__file__).resolve().parents[2])
    path: list[str] = []
    for entry in sys.path:
        with contextlib.suppress(OSError):  # relative to a directory that has been deleted: nothing is found there
            path.append(in_utf8(os.path.abspath(entry)))
    return path if root in path else [*path, root]


def in_utf8(path: str | os.PathLike[str]) -> str:
    """Return a path as seen by a process whose file names are in UTF-8. The server's are, in every locale."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def above_standard(descriptor: int) -> int:
    """Return the descriptor, or a copy if it is a standard one. A program may have closed its standard descriptors.

    A descriptor passed on under such a number would be replaced by the new process's own input and outputs.
    """
    if descriptor >= _FIRST_OF_OURS:
        return descriptor
    import fcntl

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_OF_OURS)
    finally:
        os.close(descriptor)


def for_the_owner(path: str, flags: int) -> int:
    """Open a file with access for its owner only, as the ``opener`` of `open`."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # independent of this process's umask
    return descriptor


def listening_socket(port: int, backlog: int) -> socket.socket:
    """Return a socket that listens on this machine's loopback, above the standard descriptors."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        sock = socket.socket(fileno=above_standard(made.detach()))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"port {port} of 127.0.0.1 cannot be had: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def pipe() -> tuple[int, int]:
    """Return a pipe above the standard descriptors."""
    reading, writing = os.pipe()
    try:
        reading = above_standard(reading)
    except BaseException:
        os.close(writing)
        raise
    try:
        return reading, above_standard(writing)
    except BaseException:
        os.close(reading)
        raise


_WITHOUT_ONE: Final = (
    "Start the backend by itself, with `python -m arker.emulator` of an installed Python, and give its address and key "
    "to the client."
)


def find_python(path: str) -> str:
    """Find a Python interpreter that runs the server.

    ``sys.executable`` usually is one, but it is the application itself where Python is embedded or frozen into it. It
    is never tested by running it, since that would start the application again.

    Args:
        path: The search path on which it has to find this package, as a JSON list.

    Raises:
        EmulatorError: No interpreter was found.
    """
    if not getattr(sys, "frozen", False) and _is_interpreter(sys.executable):
        return os.path.abspath(sys.executable)
    tried: list[str] = []
    for candidate in dict.fromkeys(_candidates()):
        if _is_interpreter(candidate) and not _is_same(candidate, sys.executable):
            reason = _objection(candidate, path)
            if reason is None:
                return candidate
            tried.append(f"{candidate}: {reason}")
    kind = "a frozen application" if getattr(sys, "frozen", False) else "no Python interpreter"
    found = "; ".join(tried) or "no other interpreter was found"
    raise EmulatorError(
        f"the embedded backend needs a Python interpreter, and sys.executable ({sys.executable!r}) is {kind}; "
        f"{found}. {_WITHOUT_ONE}"
    )


def _is_interpreter(executable: str | None) -> bool:
    if not executable or not _INTERPRETER.fullmatch(os.path.basename(executable)):
        return False
    return os.path.isfile(executable) and os.access(executable, os.X_OK)


def _is_same(one: str, other: str | None) -> bool:
    try:
        return bool(other) and os.path.samefile(one, str(other))
    except OSError:
        return False


def _candidates() -> Iterator[str]:
    names = [f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python"]
    places = [sys.exec_prefix, sys.prefix, sys.base_exec_prefix, sys.base_prefix]
    directories = [sysconfig.get_config_var("BINDIR"), *(os.path.join(place, "bin") for place in places)]
    for directory in directories:
        if directory:
            yield from (os.path.join(str(directory), name) for name in names)
    for name in names:
        found = shutil.which(name, path=absolute_path(os.environ))
        if found is not None:
            yield found


def _objection(executable: str, path: str) -> str | None:
    """Return the reason why an interpreter cannot run the server."""
    try:
        done = subprocess.run(
            [executable, "-I", "-X", "utf8", "-c", _TRIAL, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL_PATIENCE,
            check=False,
            cwd="/",
            env=server_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        return said.rpartition("\n")[2] or f"it ended with status {done.returncode}"
    return None


# --- the server's side ---


def begin() -> None:
    """Put this process into the state that the server relies on, whatever program started it."""
    _open_standard_descriptors()
    for number in signal.valid_signals():
        # Signals that Python itself ignores stay ignored. Others would stay ignored in all children, too.
        kept = (signal.SIGPIPE, getattr(signal, "SIGXFSZ", None))
        if signal.getsignal(number) is signal.SIG_IGN and number not in kept:
            signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    _raise_limits()
    os.environ["PATH"] = absolute_path(os.environ)
    os.environ.pop(MARK, None)


def _open_standard_descriptors() -> None:
    # Descriptors take the lowest free number, so every standard one is filled.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _FIRST_OF_OURS:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _raise_limits() -> None:
    """Raise the limits that were lowered for the program that started the server, as far as that is allowed.

    Every VM takes some descriptors, and the usual soft limit of 1,024 would end a fan-out of a few hundred.
    """
    try:
        import resource
    except ImportError:  # not a system with such limits
        return
    _raise(resource.RLIMIT_NOFILE, 65536)
    _raise(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    _raise(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _raise(kind: int, wanted: int) -> None:
    import resource

    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
        wanted = hard
    if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or soft < wanted):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (wanted, hard))


__all__ = [
    "MARK",
    "above_standard",
    "absolute_path",
    "begin",
    "find_python",
    "for_the_owner",
    "import_path",
    "in_utf8",
    "listening_socket",
    "pipe",
    "server_command",
    "server_environment",
    "start_server",
]
