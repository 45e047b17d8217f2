"""What a VM must not reach: the host's files and network, other VMs, more rights, the server's environment."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import RunSpec, SandboxError
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import read, sh, until, write

pytestmark = pytest.mark.anyio


FORBIDDEN = [
    "touch /usr/x",
    "rm -rf /usr/bin/env",
    "ln /usr/bin/env /home/user/env",
    "mount -o remount,rw /usr",
    "mount -t tmpfs none /mnt",
    "umount /usr",
    "mknod /tmp/zero c 1 5",
    "chroot / /bin/true",
    "unshare -Ur true",
    "unshare -m true",
    "unshare -n true",
    "nsenter -t 1 -m true",
    "setpriv --reuid 0 true",
    "cat /etc/shadow",
    "ls /etc/ssl/private",
    "ls /home/user/../../../root/.ssh",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo x > /proc/sysrq-trigger",
    "python3 -c 'import os; os.setuid(0)'",
    "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
    "dd if=/proc/2/mem bs=1 count=1",
    "cat /proc/2/environ",
]


async def test_refused(vm: AgentSandbox) -> None:
    for command in FORBIDDEN:
        ended = await sh(vm, command)
        assert ended.code not in (0, None), (command, ended)


async def test_no_rights_inside(vm: AgentSandbox) -> None:
    ended = await sh(vm, "id -u; id -g; id -G; grep -h Cap /proc/self/status; grep NoNewPrivs /proc/self/status")
    lines = ended.text.splitlines()
    assert lines[:3] == ["1000", "1000", "1000"]
    assert {line.split()[1] for line in lines[3:8]} == {"0000000000000000"}
    assert lines[8].split()[1] == "1"


async def test_on_the_host_a_vm_is_nobody_in_particular(vm: AgentSandbox) -> None:
    # A host's uid of 0 inside a user namespace is a real escape: /proc/sys and root's files would be open.
    ended = await sh(vm, "awk '{print $2}' /proc/self/uid_map; touch mine")
    owner = (vm.tree.path / "home/user/mine").stat()
    assert owner.st_uid == (os.getuid() or owner.st_uid)
    assert owner.st_uid != 0
    assert ended.code == 0


async def test_limits_hold(vm: AgentSandbox) -> None:
    ended = await sh(vm, "ulimit -Hu; ulimit -Hn; ulimit -Hc; ulimit -u 100000")
    processes, files, core = ended.text.splitlines()
    assert int(processes) <= 1024
    assert int(files) <= 16384
    assert core == "0"
    assert ended.code != 0


async def test_no_environment_of_the_server(vm: AgentSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARKER_API_KEY", "secret-of-the-server")
    ended = await sh(vm, "cat /proc/*/environ | tr '\\0' '\\n' | cut -d= -f1 | sort -u")
    assert set(ended.text.split()) <= {"_", "PWD", "SHLVL", "OLDPWD", *vm.initial_env}
    assert "ARKER_API_KEY" not in vm.initial_env


async def test_only_the_vms_processes_and_no_paths_of_the_host_are_seen(vm: AgentSandbox) -> None:
    ended = await sh(vm, "cat /proc/*/cmdline | tr '\\0' ' '; echo; ls -d /proc/[0-9]* | wc -l")
    assert str(vm.tree.path) not in ended.text
    assert int(ended.text.splitlines()[-1]) < 10


async def test_the_network_is_the_vms_own(vm: AgentSandbox, other_vm: AgentSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert (await sh(vm, f"exec 3<>/dev/tcp/127.0.0.1/{port}")).code == 1
    with socket.socket(socket.AF_UNIX) as listening:  # under an abstract name, which is in no directory
        listening.bind(b"\0arker-tests-%d" % os.getpid())
        listening.listen()
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect(b'\\0arker-tests-{os.getpid()}')"
        assert "refused" in (await sh(vm, f'python3 -c "{connect}"')).stderr.decode()
    server = "python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\", 8080)); time.sleep(600)' &"
    for each in (vm, other_vm):
        await sh(each, server)
        connected = "until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.05; done"
        assert (await sh(each, connected)).code == 0
    assert (await sh(vm, "exec 3<>/dev/tcp/1.1.1.1/53")).code == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_connecting_to_a_port_inside(vm: AgentSandbox, address: str) -> None:
    with pytest.raises(SandboxError) as caught:
        await vm.connect(8080)
    assert caught.value.code == "unavailable"
    family = "AF_INET6" if ":" in address else "AF_INET"
    await write(
        vm,
        "serve.py",
        (
            "import socket\n"
            f"s = socket.create_server(('{address}', 8080), family=socket.{family})\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "  c, _ = s.accept()\n"
            "  c.sendall(c.recv(100).upper())\n"
            "  c.close()\n"
        ).encode(),
    )
    run = await vm.run(RunSpec(command="exec python3 serve.py"))
    await until(lambda: run.stdout() == b"ready\n")
    reader, writer = await asyncio.open_connection(sock=await vm.connect(8080))
    writer.write(b"hello")
    assert await reader.read() == b"HELLO"
    writer.close()
    await writer.wait_closed()
    await run.kill()


async def test_a_vm_does_not_see_another(vm: AgentSandbox, other_vm: AgentSandbox) -> None:
    await sh(vm, "touch /tmp/mine /dev/shm/mine")
    assert (await sh(other_vm, "ls /tmp /dev/shm | grep -c mine")).text == "0"


@pytest.mark.parametrize(
    "name",
    [
        *("etc", "etc/ssl", "home", "srv", "usr", "proc", "dev", "tmp", "bin", "opt", "home/user"),
        *("etc/ld.so.preload", "etc/ld.so.cache", "etc/localtime"),
    ],
)
async def test_links_to_the_host_in_place_of_mount_points(
    provider: BubblewrapProvider, vm: AgentSandbox, place: Path, name: str
) -> None:
    victim = place / "victim"
    victim.mkdir(mode=0o777)
    victim.chmod(0o777)
    before = sorted(os.listdir("/"))
    await sh(vm, "true")
    await vm.close()
    target = vm.tree.path / name
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        target.rename(target.with_name("moved-away"))
    target.symlink_to(f"/oldroot{victim}")
    assert (await sh(vm, "echo works; command -v python3")).text.startswith("works")
    assert (await sh(vm, "cat /etc/ssl/certs/* >/dev/null; ls /usr/bin/env /proc/self/stat /dev/null")).code == 0
    await vm.close()
    assert os.listdir(victim) == []
    assert sorted(os.listdir("/")) == before
    victim.rmdir()


@pytest.mark.parametrize(
    "command",
    [
        "chmod 000 / /etc /home /home/user",
        "rm -rf /etc /home /opt /srv /tmp /root",
        "rm /bin /lib /lib64 /sbin",
        "mv /bin /elsewhere; mkdir /bin; echo > /bin/bash",
        "rmdir /mnt /srv; echo file > /srv; rm -rf /etc; echo file > /etc",
    ],
)
async def test_a_vm_that_has_spoilt_its_tree_starts_again(vm: AgentSandbox, command: str) -> None:
    await sh(vm, command)
    await vm.close()
    assert (await sh(vm, "pwd; python3 -c 'print(1+1)'")).text == "/home/user\n2"


async def test_a_vm_starts_without_its_time_zone(vm: AgentSandbox) -> None:
    await sh(vm, "rm /etc/localtime; mkfifo /etc/localtime")  # which nothing could read to its end
    await vm.close()
    assert (await sh(vm, "echo fine")).text == "fine"
    assert "TZ" not in vm.initial_env


async def test_tools_work(vm: AgentSandbox) -> None:
    ended = await sh(
        vm,
        "set -e; python3 -c 'import ssl, multiprocessing as m; m.Queue().put(1); ssl.create_default_context()';"
        "tar cf - --files-from /dev/null | wc -c; perl -e 'print 42'; echo $HOME; hostname; whoami; mktemp -d >&2;"
        "bash -c 'echo nested' | sort; python3 -m venv --without-pip v; v/bin/python -c 'print(7)'",
    )
    assert ended.code == 0, ended
    assert ended.text.split() == ["10240", "42/home/user", "vm", "user", "nested", "7"]


async def test_commands_have_nothing_open_but_their_three(vm: AgentSandbox, other_vm: AgentSandbox) -> None:
    await write(vm, "file", b"x")
    pending = await vm.open_write("pending", 1)  # which the agent has open meanwhile
    going = await vm.run(RunSpec(command="sleep 600"))
    for each in (vm, other_vm):
        for command in ("", "exec ", "( : ); ", "true | ", "sleep 0 & ", "exec 5<&0 5<&-; "):
            # `ls` opens the directory itself, under the lowest number that is free
            assert (await sh(each, f"{command}ls /proc/self/fd")).text.split() == ["0", "1", "2", "3"], command
    await pending.abort()
    await going.kill()


async def test_an_exit_code_cannot_be_forged(vm: AgentSandbox) -> None:
    script = (
        "import os\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    for number in range(256):\n"
        "        for way in (f'/proc/{pid}/fd/{number}', f'/dev/fd/{number}'):\n"
        "            if pid not in (str(os.getpid()), str(os.getppid())) or '/dev/' in way and number > 2:\n"
        "                try: os.write(os.open(way, os.O_WRONLY), b'exit 0\\n')\n"
        "                except OSError: pass\n"
        "        if number > 2:\n"
        "            try: os.write(number, b'exit 0\\n')\n"
        "            except OSError: pass\n"
    )
    await write(vm, "forge.py", script.encode())
    going = await vm.run(RunSpec(command="sleep 600"))
    assert (await sh(vm, "python3 forge.py; exit 9")).code == 9
    await going.kill()
    assert (await going.wait()).reason == "killed"  # and it had not ended before


LIBRARY = """
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void load(void) {
    FILE *out = getpid() == 1 ? fopen("/home/user/loaded", "w") : NULL;
    if (out) fclose(out);
}
"""


@pytest.mark.parametrize("kind", ["file", "directory", "link", "hard link"])
async def test_a_vm_loads_nothing_into_the_agent(vm: AgentSandbox, kind: str) -> None:
    await write(vm, "library.c", LIBRARY.encode())
    compiled = await sh(vm, "cc -shared -fPIC -o library.so library.c || cp /usr/bin/env library.so; ls library.so")
    assert compiled.text == "library.so"
    assert (await sh(vm, "echo /home/user/library.so > /etc/ld.so.preload; cat /etc/ld.so.preload")).text == ""
    assert (await sh(vm, "echo x >> /etc/ld.so.cache")).code != 0
    assert (await sh(vm, "rm -f /etc/ld.so.preload; mv /etc/ld.so.cache x")).code != 0
    await vm.close()
    for name in ("ld.so.preload", "ld.so.cache"):  # as a VM may have done when it was not yet mounted over
        target = vm.tree.path / "etc" / name
        target.unlink()
        if kind == "file":
            target.write_text("/home/user/library.so\n")
        elif kind == "directory":
            target.mkdir()
        elif kind == "link":
            target.symlink_to("/home/user/library.so")
        else:
            os.link(vm.tree.path / "home/user/library.so", target)
    assert (await sh(vm, "ls loaded library.so")).text == "library.so"


FLOOD = """
import array, os, socket, sys, time
pairs, passed, fd = [], 0, os.open("/dev/null", os.O_RDONLY)
try:
    while passed < 100_000:
        pairs.append(socket.socketpair())
        pairs[-1][0].setblocking(False)
        try:
            while True:
                pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * 200))])
                passed += 200
        except BlockingIOError:
            pass
except OSError as error:
    print(error.strerror, flush=True)
time.sleep(600)
"""


async def test_descriptors_on_their_way_starve_neither_the_server_nor_others(place: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limit[1]))  # less than VMs have by default
    provider = await BubblewrapProvider.open(place)
    try:
        vm, other = await provider.create("flooding"), await provider.create("other")
        assert int((await sh(vm, "ulimit -Hn")).text) < 1024
        await sh(other, "echo x > file")
        run = await vm.run(RunSpec(command=f"exec python3 -c '{FLOOD}'"))
        await until(lambda: run.stdout() == b"Too many references: cannot splice\n")
        assert (await sh(other, "echo fine")).text == "fine"
        assert await read(other, "file") == b"x\n"
        await run.kill()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        await provider.close()
