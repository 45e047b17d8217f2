"""Attacks on the walls of a VM: programs that run inside and tell how each attempt ended.

``python -m tests.emulator.sandbox.walls`` runs them all as the current user, and prints the table of docs/isolation.md.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from arker.emulator.sandbox.base import Sandbox
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.bubblewrap.seccomp import ARCHITECTURES, REFUSED
from tests.emulator.sandbox.support import sh, write

_PRELUDE = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
numbers = NUMBERS[os.uname().machine]
def name(code):
    return errno.errorcode.get(code, str(code))
def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return name(error.errno)
    return "done"
def call(what, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = libc.syscall(ctypes.c_long(numbers[what] if isinstance(what, str) else what), *wide)
    return name(ctypes.get_errno()) if result < 0 else "done"
def others():
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid == 1 or b"vm-agent" in open(f"/proc/{pid}/cmdline", "rb").read()]
def tell(*words):
    print(*dict.fromkeys(words))
"""
_CALLS = {name: {**each.numbers} for name, each in ARCHITECTURES.items()}
for _machine, _more in {
    "x86_64": {"ptrace": 101, "process_vm_readv": 310, "pidfd_open": 434, "mount": 165, "unshare": 272},
    "aarch64": {"ptrace": 117, "process_vm_readv": 270, "pidfd_open": 434, "mount": 40, "unshare": 97},
}.items():
    _CALLS[_machine].update(_more)


@frozen
class Wall:
    """A row of the table.

    Attributes:
        title: What is attacked.
        program: What runs inside, in Python.
        right: What it has to print, as a regular expression.
    """

    title: str
    program: str
    right: str


WALLS = [
    Wall(
        "keys of the user: read, add, ask for",
        'tell(call("keyctl", 6, -3, None, 0), call("add_key", b"user", b"x", b"y", 1, -3), '
        'call("request_key", b"user", b"x", None, 0))',
        "EPERM",
    ),
    Wall(
        "what /proc tells of the user's keys, the kernel's command line and swap files",
        'paths = ("/proc/keys", "/proc/key-users", "/proc/cmdline", "/proc/swaps")\n'
        "tell(*(os.path.exists(path) and open(path).read() or 'nothing' for path in paths))",
        "nothing",
    ),
    Wall(
        "sockets of families other than UNIX, INET, INET6 and NETLINK, vsock among them",
        "tell(*(call('socket', family, kind, 0) for family in {*range(3, 64)} - {10, 16} for kind in (1, 2, 3, 5)))",
        "EAFNOSUPPORT",
    ),
    Wall(
        "netlink protocols other than ROUTE, SOCK_DIAG, KOBJECT_UEVENT and GENERIC",
        "tell(*(call('socket', 16, 3, protocol) for protocol in range(1, 32) if protocol not in (4, 15, 16)))",
        "EPROTONOSUPPORT",
    ),
    Wall(
        "system calls that are refused",
        f"refused = {REFUSED!r}\n"
        "here = {what: code for what, code in refused.items() if what in numbers}\n"
        "tell(*(what for what, code in here.items() if call(what, 0, 0, 0, 0, 0) != name(code)), 'refused')",
        "refused",
    ),
    Wall(
        "system calls of 32-bit programs, and of x32",
        """
if os.uname().machine != "x86_64":
    tell("SIGSYS", "ENOSYS")
else:
    import mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    pid = os.fork()
    if pid == 0:
        ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    tell(signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "done", call(0x40000000 + 39))
""",
        "SIGSYS ENOSYS",
    ),
    Wall(
        "files behind the links of /proc/PID of the VM's first process and of the supervisor: stat, chmod, times, open",
        """
ways = []
for pid in others():
    ways += [(os.listdir, f"/proc/{pid}/{directory}") for directory in ("fd", "map_files", "ns")]
    for link in ("exe", "root", "cwd", "fd/0", "fd/2", "fd/3", "ns/user", "ns/net"):
        path = f"/proc/{pid}/{link}"
        ways += [(os.stat, path), (os.readlink, path), (os.open, path, 0)]
        ways += [(os.chmod, path, 0o700), (os.utime, path, (0, 0))]
        ways += [(os.setxattr, path, "user.x", b"1"), (os.listdir, path + "/.")]
tell(*sorted({attempt(way, *arguments) for way, *arguments in ways}))
""",
        "EACCES",
    ),
    Wall(
        "the program behind /proc/self/exe: chmod, times, attributes, write",
        """
p = "/proc/self/exe"
found = {attempt(os.chmod, p, 0o700), attempt(os.utime, p, (0, 0)), attempt(os.setxattr, p, "user.x", b"1")}
tell(*sorted(found | {attempt(os.open, p, os.O_WRONLY), attempt(os.truncate, p, 0)}))
""",
        "(EACCES )?(EPERM )?(EROFS)?(ETXTBSY)?",
    ),
    Wall(
        "memory and descriptors of the agent: ptrace, process_vm_readv, pidfd_getfd, /proc/PID/mem",
        """
found = set()
for pid in others():
    pidfd = libc.syscall(numbers["pidfd_open"], pid, 0)
    found |= {call("ptrace", 16, pid, 0, 0), call("ptrace", 0x4206, pid, 0, 0)}
    one = struct.pack("PN", ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    found |= {call("process_vm_readv", pid, one, 1, one, 1, 0)}
    found |= {call("pidfd_getfd", pidfd, number, 0) for number in range(32)}
    files = ("mem", "maps", "environ", "auxv", "syscall", "fdinfo/3")
    found |= {attempt(open, f"/proc/{pid}/{file}", "rb") for file in files}
tell(*sorted(found))
""",
        "EACCES EPERM",
    ),
    Wall(
        "descriptors that a command inherits",
        'tell(*sorted(set(os.listdir("/proc/self/fd")) - {str(os.open("/proc/self/fd", os.O_RDONLY))}))',
        "0 1 2",
    ),
    Wall(
        "signals to the VM's first process",
        "[os.kill(1, number) for number in range(1, 65)]\n"
        'import time; time.sleep(0.1); tell(open("/proc/1/stat").read().rpartition(")")[2].split()[0])',
        "[SR]",
    ),
    Wall(
        "the score by which the kernel kills where memory runs out: what it is, and lowering it",
        'score = "/proc/self/oom_score_adj"\n'
        'tell(open(score).read().strip(), attempt(lambda: open(score, "w").write("0")))',
        "1000 EROFS",
    ),
    Wall(
        "settings of the kernel: core_pattern, limits of the namespace",
        'tell(*(attempt(open, "/proc/" + path, "w") for path in '
        '("sys/kernel/core_pattern", "sys/user/max_inotify_instances", "1/oom_score_adj", "self/uid_map")))',
        "(EROFS|EACCES)( EROFS| EACCES)?",
    ),
    Wall(
        "files in /dev, devices, /sys",
        'tell(attempt(open, "/dev/x", "w"), attempt(os.mknod, "/tmp/x", 0o20666, os.makedev(1, 5)))\n'
        'tell(*os.listdir("/sys"))',
        "EROFS EPERM",
    ),
    Wall(
        "the host's own devices in /dev: mode, times, attributes; writing what is meant to be written",
        """
nodes = ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero", "/etc/ld.so.preload"]
nodes += [path for path in ("/proc/keys", "/proc/cmdline", "/proc/swaps") if os.path.exists(path)]
ways = [(os.chmod, 0o600), (os.utime,), (os.utime, (0, 0)), (os.setxattr, "user.x", b"1")]
tell(*sorted({attempt(way, node, *rest) for node in nodes for way, *rest in ways}), open("/dev/null", "w").write("x"))
""",
        "(EPERM )?EROFS 1",
    ),
    Wall(
        "namespaces: a user's inside, mounts, setns",
        'tell(call("unshare", 0x10000000), call("unshare", 0x20000), call("mount", b"x", b"/tmp", b"tmpfs", 0, None), '
        'call("setns", 0, 0))',
        "(ENOSPC )?EPERM",
    ),
    Wall(
        "rights: capabilities of every kind, new ones by setuid programs",
        'tell(*(line.split()[1] for line in open("/proc/self/status") if line.startswith(("Cap", "NoNewPrivs"))))',
        "0000000000000000 1",
    ),
    Wall(
        "the host's kernel log",
        'tell(call("syslog", 3, ctypes.create_string_buffer(9), 9))',
        "EPERM",
    ),
    Wall(
        "terminals of the host: /dev/tty, typing into it",
        'tell(attempt(os.open, "/dev/tty", os.O_RDWR), attempt(fcntl.ioctl, 0, 0x5412, b"x"))',
        "ENXIO ENOTTY",
    ),
    Wall(
        "real-time scheduling, a better nice value",
        "tell(attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)), attempt(os.setpriority, 0, 0, -5))",
        "EPERM( EACCES)?",
    ),
    Wall(
        "inotify instances, of which the user has one stock",
        """
most = int(open("/proc/sys/fs/inotify/max_user_instances").read())
made = 0
while made < most and libc.inotify_init() >= 0:
    made += 1
tell("a quarter" if made <= max(1, most // 4) else made, name(ctypes.get_errno()))
""",
        "a quarter EMFILE",
    ),
    Wall(
        "pending signals and timers, message queues: what may be taken of the user's",
        "hard = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_SIGPENDING, resource.RLIMIT_MSGQUEUE)]\n"
        "tell(hard[0] <= 4096, hard[1] <= 262144)",
        "True",
    ),
    Wall(
        "/dev/shm: bytes and files",
        's = os.statvfs("/dev/shm"); tell(s.f_blocks * s.f_frsize <= 512 << 20, s.f_files <= 65536)',
        "True",
    ),
]


async def breach(sandbox: Sandbox, wall: Wall) -> str:
    """Attack one wall and tell what came of it."""
    program = f"NUMBERS = {_CALLS!r}\n{_PRELUDE}\n{wall.program}\n"
    await write(sandbox, "/home/user/attack.py", program.encode())
    ended = await sh(sandbox, "exec python3 attack.py", timeout=120)
    return ended.text if ended.code == 0 else f"{ended.code} {ended.exit.reason or ''} {ended.stderr.decode()}"


def holds(wall: Wall, outcome: str) -> bool:
    return re.fullmatch(wall.right, outcome.strip()) is not None


async def _main() -> int:
    place = Path(tempfile.mkdtemp(prefix="arker-walls-"))
    provider = await BubblewrapProvider.open(place)
    failed = 0
    try:
        vm = await provider.create("attacked")
        print(f"| what is attacked | uid {os.getuid()} |\n| --- | --- |")
        for wall in WALLS:
            outcome = await breach(vm, wall)
            failed += not holds(wall, outcome)
            print(f"| {wall.title} | {outcome}{'' if holds(wall, outcome) else ' **BREACHED**'} |")
    finally:
        await provider.close()
        place.rmdir()
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
