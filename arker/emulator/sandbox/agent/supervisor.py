"""The process that supervises one run: it starts the command, reports its end, and kills what it left behind."""

from __future__ import annotations

import _socket
import posix as os
import resource
import select

from arker.emulator.sandbox.agent.filters import filters_below
from arker.emulator.sandbox.agent.processes import PR_SET_CHILD_SUBREAPER, kill_below, prctl, reap, wake_up
from arker.emulator.sandbox.agent.refusals import Refused, explain
from arker.emulator.sandbox.agent.signals import Signals
from arker.emulator.sandbox.agent.system import fsencode

TYPE_CHECKING = False  # typing is not imported in the VM: see the package
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal

RESERVED_PROCESSES = 64
"""The number of processes that agent and supervisors may have beyond the limit of runs, to be able to clean up."""
PATH_MAX = 4096
SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


def at_process_limit() -> Refused:
    """Return the message for the case that no process can be started."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if hard == resource.RLIM_INFINITY or hard <= RESERVED_PROCESSES:
        return Refused("resource_pressure", "no more processes can be started on this machine")
    return Refused("resource_pressure", f"the VM has reached its limit of {hard - RESERVED_PROCESSES} processes")


def enter(directory: str) -> None:
    """Change the working directory. The path may be longer than a system call accepts."""
    while len(fsencode(directory)) >= PATH_MAX:
        cut = directory.rindex("/", 0, PATH_MAX // 4 - 1)  # a character has four bytes at most
        os.chdir(directory[:cut] or "/")
        directory = directory[cut:].lstrip("/")
    os.chdir(directory)


def supervise(request: dict[str, Any], fds: list[int], isolated: bool) -> None:
    """Start a command and stay until it and everything that it started have ended."""
    control_fd, stdout, stderr, script, state = fds
    script_at, state_at = request["at"]
    control = _socket.socket(fileno=control_fd)
    prctl(PR_SET_CHILD_SUBREAPER, 1)

    def tell(line: str) -> None:
        try:
            control.sendall(line.encode("utf-8", "replace") + b"\n")
        except OSError:  # the server has gone; the loop below notices it
            pass

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, wake_up)
    for directory in (request["cwd"], request["home"], "/"):
        try:
            enter(directory)
            break
        except (OSError, ValueError):  # it has gone
            continue
    soft = resource.RLIMIT_NPROC
    hard = resource.getrlimit(soft)[1]
    if hard != resource.RLIM_INFINITY and hard > RESERVED_PROCESSES:
        resource.setrlimit(soft, (hard - RESERVED_PROCESSES, hard))
    tell("starting")  # before the command exists: without this line the server knows that nothing was run
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        shell = os.posix_spawn(
            request["argv"][0],
            request["argv"],
            {fsencode(name): fsencode(value) for name, value in request["env"].items()},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
                (os.POSIX_SPAWN_DUP2, script, script_at),
                (os.POSIX_SPAWN_DUP2, state, state_at),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=SIGNALS,
        )
    except BlockingIOError:
        tell(f"failed {at_process_limit().message}")
        return
    except Exception as error:
        tell(f"failed {explain(error).message}")
        return
    signals = Signals(shell)
    outputs = {os.fstat(fd).st_ino for fd in (stdout, stderr)}
    for fd in (null, stdout, stderr, script, state):
        os.close(fd)
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(control, select.POLLIN)
    pending = b""

    def account(ended: list[tuple[int, int]]) -> None:
        for pid, status in ended:
            if pid == shell:
                tell(f"exit {128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}")

    while True:
        ended = reap()
        if ended is None:
            return
        account(ended)
        if ended:
            continue  # they may have been the last
        ready = [fd for fd, _ in poll.poll(signals.proceed())]
        if wake_read in ready:
            os.read(wake_read, 4096)
        if control_fd not in ready:
            continue
        try:
            data = control.recv(4096)
        except OSError:  # the server has closed it with something unread, which is a reset
            data = b""
        if not data:
            kill_below(os.getpid(), brake=isolated)
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line == b"kill":
                ended = kill_below(os.getpid(), brake=isolated)
                tell(f"killed {len(ended)}")
                account(ended)
            elif line == b"late":
                tell(f"late {int(filters_below(os.getpid(), outputs))}")
            elif line.startswith(b"signal "):
                signals.send(int(line[7:]))
