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


def tell(control: _socket.socket, line: str) -> None:
    try:
        control.sendall(line.encode("utf-8", "replace") + b"\n")
    except OSError:  # the server has gone, which is noticed where its end is read
        pass


def supervise(request: dict[str, Any], fds: list[int], isolated: bool) -> None:
    """Start a command and stay until it and everything that it started have ended."""
    control, stdout, stderr, script, state = fds
    script_at, state_at = request["at"]
    outputs = {os.fstat(fd).st_ino for fd in (stdout, stderr)}
    null = os.open("/dev/null", os.O_RDONLY)
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
        (os.POSIX_SPAWN_DUP2, script, script_at),
        (os.POSIX_SPAWN_DUP2, state, state_at),
    ]
    look_after(request, control, actions, [null, stdout, stderr, script, state], outputs, isolated)


def supervise_terminal(request: dict[str, Any], fds: list[int], isolated: bool) -> None:
    """Start a program in a terminal and stay until it and everything that it started have ended."""
    control, terminal = fds
    # The first process of a session gets the terminal that it opens as its controlling one: there Ctrl-C is a signal.
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.ttyname(terminal), os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    look_after(request, control, actions, [terminal], set(), isolated, announced=True)


def look_after(
    request: dict[str, Any],
    control_fd: int,
    actions: list[Any],
    given: list[int],
    outputs: set[int],
    isolated: bool,
    announced: bool = False,
) -> None:
    """Start a process in a session of its own, and look after it and all that it starts.

    Args:
        request: The program to start: ``argv``, ``env``, ``cwd`` and ``home``.
        control_fd: The socket to the server.
        actions: What is done with descriptors in the new process.
        given: The descriptors that only the process needs.
        outputs: The pipes that it writes, by inode.
        isolated: Whether nothing but the VM's processes can be stopped.
        announced: Whether the server waits to be told that the process has been started.
    """
    control = _socket.socket(fileno=control_fd)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
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
    tell(control, "starting")  # before the command exists: without this line the server knows that nothing was run
    try:
        shell = os.posix_spawn(
            request["argv"][0],
            request["argv"],
            {fsencode(name): fsencode(value) for name, value in request["env"].items()},
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=SIGNALS,
        )
    except BlockingIOError:
        tell(control, f"failed {at_process_limit().message}")
        return
    except Exception as error:
        tell(control, f"failed {explain(error).message}")
        return
    signals = Signals(shell, request["argv"])
    if announced:
        tell(control, "started")
    for fd in given:
        os.close(fd)
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(control, select.POLLIN)
    pending = b""

    def account(ended: list[tuple[int, int]]) -> None:
        for pid, status in ended:
            if pid == shell:
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                tell(control, f"exit {code}")

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
                tell(control, f"killed {len(ended)}")
                account(ended)
            elif line == b"late":
                tell(control, f"late {int(filters_below(os.getpid(), outputs))}")
            elif line.startswith(b"signal "):
                signals.send(int(line[7:]))
