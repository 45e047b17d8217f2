"""The agent's loop: requests in, replies and descriptors out."""

from __future__ import annotations

import _socket as socket
import _struct as struct
import errno
import gc
import posix as os
import resource
import select
import sys

from arker.emulator.sandbox.agent.files import PendingFile, open_regular
from arker.emulator.sandbox.agent.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PROC,
    kill_below,
    list_proc,
    prctl,
    read_proc,
    reap,
    reap_all,
    rename,
    send_signal,
    stop_below,
    wake_up,
)
from arker.emulator.sandbox.agent.refusals import Refused, explain
from arker.emulator.sandbox.agent.supervisor import (
    RESERVED_PROCESSES,
    at_process_limit,
    supervise,
    supervise_terminal,
)
from arker.emulator.sandbox.agent.system import give_back_memory, parse_json, to_json
from arker.emulator.sandbox.agent.walls import SCORE_OF_AGENTS, SCORE_OF_COMMANDS, Score, lower_limit, raise_walls

TYPE_CHECKING = False  # typing is not imported in the VM: see the package
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal

LARGEST_REQUEST = 64 * 1024 * 1024
RESERVED_DESCRIPTORS = 512
"""By how much the agent may raise its limit of open files; one message can carry 253."""
IPC = ("shm", "msg", "sem")
"""What the kernel keeps without a process that has it."""
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Agent:
    def __init__(self, link: socket.socket, isolated: bool, score: Score, max_open_files: int) -> None:
        self.max_open_files = max_open_files
        self.missing: list[str] = []
        """The protections that this machine does not allow, for people."""
        self.link = link
        self.isolated = isolated
        self.score = score
        self.supervisors: set[int] = set()
        self.files: dict[int, PendingFile] = {}
        self.halted: list[int] = []
        self.handlers: dict[str, Callable[[dict[str, Any], list[int]], tuple[dict[str, Any], list[int]]]] = {
            "run": self.run,
            "open_terminal": self.open_terminal,
            "start_in_terminal": self.start_in_terminal,
            "read": self.read,
            "write": self.write,
            "commit": self.commit,
            "abort": self.abort,
            "connect": self.connect,
            "listen": self.listen,
            "stop": self.stop,
            "continue": self.go_on,
            "rests": self.rests,
        }

    def run(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        return self.start(supervise, request, fds)

    def open_terminal(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        return {}, list(os.openpty())

    def start_in_terminal(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        return self.start(supervise_terminal, request, fds)

    def start(
        self, supervise: Callable[[dict[str, Any], list[int], bool], None], request: dict[str, Any], fds: list[int]
    ) -> tuple[dict[str, Any], list[int]]:
        self.score.set(SCORE_OF_COMMANDS)  # which the child keeps, and all that it starts
        try:
            pid = os.fork()
        except BlockingIOError:
            raise at_process_limit() from None
        finally:
            self.score.set(SCORE_OF_AGENTS)
        if pid == 0:
            try:
                self.score.close()
                self.link.close()
                lower_limit(resource.RLIMIT_NOFILE, self.max_open_files)
                supervise(request, fds, self.isolated)
            finally:
                os._exit(0)  # pyright: ignore[reportPrivateUsage]
        self.supervisors.add(pid)
        return {}, []

    def read(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        fd = open_regular(request["path"], os.O_RDONLY)
        return {"size": os.fstat(fd).st_size}, [fd]

    def write(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        file = PendingFile(request["path"])
        self.files[request["file"]] = file
        return {}, [os.dup(file.fd)]

    def commit(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        file = self.files.pop(request["file"])
        try:
            file.commit()
        finally:
            file.close()
        return {}, []

    def abort(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        file = self.files.pop(request["file"], None)
        if file is not None:
            file.close()
        return {}, []

    def connect(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        connection = socket.socket(socket.AF_INET6 if ":" in request["host"] else socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)  # the server waits for the outcome, not the agent
        code = connection.connect_ex((request["host"], request["port"]))
        if code not in (0, errno.EINPROGRESS):
            connection.close()
            raise OSError(code, os.strerror(code))
        return {}, [connection.detach()]

    def listen(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((request["host"], request["port"]))
            listener.listen(request["backlog"])
        except BaseException:
            listener.close()
            raise
        return {}, [listener.detach()]

    def stop(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        self.halted += stop_below(os.getpid(), self.supervisors)
        return {}, []

    def go_on(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        while self.halted:
            send_signal(signal.SIGCONT, self.halted.pop())
        return {}, []

    def rests(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Tell whether nothing in the VM would be lost with its processes."""
        self.reap_supervisors()
        alone = PROC is not None and [name for name in list_proc() if name.isdigit()] == [str(os.getpid())]
        kept = os.listdir("/dev/shm") if alone else []  # noqa: S108
        ipc = alone and any(read_proc(f"sysvipc/{name}").count(b"\n") > 1 for name in IPC)
        return {"rests": int(alone and not kept and not ipc)}, []

    def answer(self, reply: dict[str, Any], fds: list[int]) -> None:
        body = to_json(reply).encode()
        packed = struct.pack(f"{len(fds)}i", *fds)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)] if fds else []
        data = struct.pack("!I", len(body)) + body
        try:
            sent = self.link.sendmsg([data], ancillary)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            # Descriptors in transit through sockets are counted per user, and compared with this limit of the sender:
            # with a higher limit than a VM's, the agent can pass some although a VM has used up its own.
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            try:
                sent = self.link.sendmsg([data], ancillary)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.link.sendall(data[sent:])

    def handle(self, body: bytes, fds: list[int]) -> None:
        given: list[int] = []
        passed: list[int] = []
        number = 0
        try:
            request: dict[str, Any] = parse_json(body)
            number = request["id"]
            count = request["fds"]
            given, fds[:count] = fds[:count], []
            if len(given) != count:
                raise Refused("bad_request", "descriptors are missing")
            reply, passed = self.handlers[request["op"]](request, given)
        except Exception as error:
            refused = explain(error)
            reply = {"error": refused.as_json()}
        finally:
            for fd in given:
                os.close(fd)
        try:
            self.answer(dict(reply, id=number, fds=len(passed)), passed)
        finally:
            for fd in passed:
                os.close(fd)

    def reap_supervisors(self) -> None:
        for pid, status in reap(os.WUNTRACED) or []:
            if os.WIFSTOPPED(status):  # by something in the VM: its run would never end
                send_signal(signal.SIGCONT, pid)
                continue
            self.supervisors.discard(pid)
            if os.WIFSIGNALED(status):  # something in the VM killed it: its processes have to be ended here
                kill_below(os.getpid(), self.supervisors)

    def serve(self) -> None:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, wake_up)
        poll = select.poll()
        poll.register(wake_read, select.POLLIN)
        poll.register(self.link, select.POLLIN)
        data = b""
        fds: list[int] = []
        self.answer({"hello": sys.version_info[:3], "missing": self.missing, "id": 0, "fds": 0}, [])
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if wake_read in ready:
                os.read(wake_read, 4096)
                self.reap_supervisors()
            if self.link.fileno() not in ready:
                continue
            piece, ancillary, _, _ = self.link.recvmsg(1024 * 1024, socket.CMSG_SPACE(16 * 4), CLOSE_ON_EXEC)
            if not piece:
                return
            for _, kind, packed in ancillary:
                if kind == socket.SCM_RIGHTS:
                    received = struct.unpack(f"{len(packed) // 4}i", packed[: len(packed) // 4 * 4])
                    if not CLOSE_ON_EXEC:
                        for fd in received:
                            os.set_inheritable(fd, False)
                    fds += received
            data += piece
            while len(data) >= 4 and len(data) >= 4 + (size := struct.unpack("!I", data[:4])[0]):
                body, data = data[4 : 4 + size], data[4 + size :]
                self.handle(body, fds)
            if len(data) > LARGEST_REQUEST:
                return


def main() -> None:
    link_fd, source_fd, isolated, max_processes, max_open_files = (int(argument) for argument in sys.argv[1:6])
    os.close(source_fd)
    os.set_inheritable(link_fd, False)
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as the VM's first process it is safe from what it does not handle
    rename("vm-agent")  # otherwise `pkill python` for one of the user's commands would end the VM
    score = Score()
    score.set(SCORE_OF_AGENTS)
    prctl(PR_SET_DUMPABLE, 0)  # processes in the VM must not read or trace the agent
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    missing = raise_walls() if isolated else []
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_NOFILE, max_open_files + RESERVED_DESCRIPTORS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max_open_files, hard), hard))
    if max_processes:
        lower_limit(resource.RLIMIT_NPROC, max_processes + RESERVED_PROCESSES)
    agent = Agent(socket.socket(fileno=link_fd), bool(isolated), score, max_open_files)
    agent.missing = missing
    gc.freeze()
    give_back_memory()
    try:
        agent.serve()
    except ConnectionError:
        pass
    finally:
        for file in agent.files.values():
            file.close()
        kill_below(os.getpid())
        reap_all()
