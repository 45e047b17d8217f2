"""The walls of a VM, each attacked from inside; and the filter of system calls by itself."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.bubblewrap import seccomp
from arker.emulator.sandbox.bubblewrap.keyring import Keyrings
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.bubblewrap.seccomp import (
    ALLOW,
    ARCHITECTURES,
    FAMILIES,
    KILL,
    NETLINK,
    REFUSED,
    Architecture,
    build_filter,
    choose_filter,
    refuse,
)
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from tests.emulator.sandbox.support import sh, write
from tests.emulator.sandbox.walls import WALLS, Wall, breach, holds

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "isolation.md"


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.title[:40])
async def test_a_wall_holds(vm: AgentSandbox, wall: Wall) -> None:
    outcome = await breach(vm, wall)
    assert holds(wall, outcome), outcome


def test_the_page_has_every_wall_and_every_refused_call() -> None:
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)
    assert [row for row in rows if row in {wall.title for wall in WALLS}] == [wall.title for wall in WALLS]
    for name in [*REFUSED, *NETLINK]:
        assert f"`{name}`" in text, name


# --- the filter ------------------------------------------------------------------------------------------------------


def judge(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """Return the verdict of the kernel's filter machine for a call, as far as the filter uses it."""
    lines = [struct.unpack_from("=HBBI", program, place) for place in range(0, len(program), 8)]
    looked_at = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, *[0] * 6)[:6])
    place = value = 0
    while True:
        code, true, false, constant = lines[place]
        if code == 0x20:
            (value,) = struct.unpack_from("=I", looked_at, constant)
        elif code == 0x06:
            return int(constant)
        else:
            assert code in (0x15, 0x35)
            place += true if (value == constant if code == 0x15 else value >= constant) else false
        place += 1


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_refuses_what_is_listed_and_nothing_else(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    program = build_filter(architecture)
    by_number = {number: name for name, number in architecture.numbers.items()}
    assert len(by_number) == len(architecture.numbers)
    assert set(REFUSED) - set(architecture.numbers) <= {"iopl", "ioperm", "modify_ldt"}
    for number in range(600):
        verdict = judge(program, architecture.audit, number, 1, 1)
        name = by_number.get(number)
        assert verdict == (refuse(REFUSED[name]) if name in REFUSED else ALLOW), (number, name)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_judges_sockets_by_family_and_protocol(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    program = build_filter(architecture)
    for name in ("socket", "socketpair"):
        number = architecture.numbers[name]
        for family in [*range(64), 2**31, 2**32 - 1]:
            for high in (0, 0xFFFFFFFF00000000):  # the kernel drops the upper half of an int, so it says nothing
                expected = ALLOW if family in FAMILIES.values() else refuse(errno.EAFNOSUPPORT)
                assert judge(program, architecture.audit, number, high | family, 3) == expected, family
        for protocol in [*range(64), 2**31, 2**32 - 1]:
            expected = ALLOW if protocol in NETLINK.values() else refuse(errno.EPROTONOSUPPORT)
            assert judge(program, architecture.audit, number, 16, 3, protocol) == expected, protocol
            assert judge(program, architecture.audit, number, 2, 3, protocol) == ALLOW


def test_the_filter_knows_no_other_abi() -> None:
    x86, arm = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
    i386, arm_32 = 0x40000003, 0x40000028
    for architecture, other in ((x86, i386), (x86, arm.audit), (arm, arm_32), (arm, x86.audit)):
        for number in (0, 1, 39, 250):
            assert judge(build_filter(architecture), other, number) == KILL
    for number in (0x40000000, 0x40000000 + 250, 0xFFFFFFFF):
        assert judge(build_filter(x86), x86.audit, number) == refuse(errno.ENOSYS)


def test_a_filter_with_jumps_that_are_too_long_is_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {**ARCHITECTURES["x86_64"].numbers}
    many = dict.fromkeys((f"call_{number}" for number in range(300)), errno.EPERM)
    numbers.update({name: 1000 + place for place, name in enumerate(many)})
    monkeypatch.setattr(seccomp, "REFUSED", many)
    architecture = Architecture(audit=1, numbers=numbers)
    with pytest.raises(struct.error):
        build_filter(architecture)


@pytest.mark.parametrize(
    ("machine", "maxsize", "words"),
    [("riscv64", sys.maxsize, "'riscv64'"), ("x86_64", 2**31 - 1, "32 bits")],
)
async def test_where_there_is_no_filter_the_log_says_so(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    machine: str,
    maxsize: int,
    words: str,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(sys, "maxsize", maxsize)
    with caplog.at_level(logging.WARNING, "arker.emulator"):
        provider = await BubblewrapProvider.open(place)
    assert "VMs run without a filter of system calls" in caplog.text
    assert words in caplog.text
    vm = await provider.create("one")
    assert (await sh(vm, "grep Seccomp: /proc/self/status")).text.split() == ["Seccomp:", "0"]
    await provider.close()


def test_a_kernel_without_filters_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(choose_filter(), bytes)
    monkeypatch.setattr(seccomp, "_kernel_filters", lambda: False)
    assert "CONFIG_SECCOMP_FILTER" in str(choose_filter())


async def test_the_log_says_what_vms_go_without(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.arguments.CAPABILITIES", {"CAP_SETPCAP": 8})
    with caplog.at_level(logging.WARNING, "arker.emulator"):
        provider = await BubblewrapProvider.open(place)
        vm = await provider.create("one")
        assert (await sh(vm, "grep Cap /proc/self/status | cut -f 2 | sort -u")).text == "0" * 16
    await provider.close()
    (text,) = [record.message for record in caplog.records if "go without" in record.message]
    assert "a read-only /proc" in text
    assert "max_inotify_instances" in text


# --- keyrings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret_key() -> Iterator[int]:
    """Add a key to the session keyring of the process that starts the VMs."""
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = ARCHITECTURES[os.uname().machine].numbers
    assert libc.syscall(numbers["keyctl"], 1, b"arker-tests") > 0, "this kernel, or this container, has no keys"
    key = libc.syscall(numbers["add_key"], b"user", b"arker-tests", b"secret", 6, -3)
    assert key > 0
    yield key
    libc.syscall(numbers["keyctl"], 3, key)  # revoke


async def test_the_keyring_is_left_behind_without_a_filter_too(
    place: Path, secret_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.provider.choose_filter", lambda: "not for this test")
    provider = await BubblewrapProvider.open(place)
    numbers = ARCHITECTURES[os.uname().machine].numbers
    script = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        f"add, keyctl, key = {numbers['add_key']}, {numbers['keyctl']}, {secret_key}\n"
        "buffer = ctypes.create_string_buffer(99)\n"
        "print(libc.syscall(keyctl, 11, key, buffer, 99), libc.syscall(keyctl, 2, key, b'changed', 7), end=' ')\n"
        "print(max(0, libc.syscall(keyctl, 11, -3, buffer, 99)) // 4, end=' ')\n"  # how many keys the keyring has
        "print(libc.syscall(add, b'user', b'mine', b'x', 1, -3) > 0)\n"
    )
    for name in ("one", "two"):
        vm = await provider.create(name)
        await write(vm, "keys.py", script.encode())
        assert (await sh(vm, "python3 keys.py")).text == "-1 -1 0 True", name
    await provider.close()


def test_keyrings_take_half_of_the_users_keys_at_most() -> None:
    # In a process of its own, which gets other keyrings, and a session keyring lives as long as a process has it.
    program = (
        "import os, re, sys; from pathlib import Path; from arker.emulator.sandbox.bubblewrap.keyring import Keyrings\n"
        "if os.getuid() == 0: os.setgid(64_201); os.setuid(64_201)\n"
        "keyrings, held = Keyrings(), []\n"
        "def used():\n"
        "    users = Path('/proc/key-users').read_text()\n"
        "    found = re.search(rf'^ *{os.getuid()}: +\\S+ \\S+ (\\d+)/(\\d+)', users, re.M)\n"
        "    return tuple(map(int, found.groups())) if found else (0, 200)\n"
        "for _ in range(used()[1]):\n"
        "    keyrings.leave()\n"
        "    read, write = os.pipe()\n"
        "    if os.fork() == 0: os.close(write); os.read(read, 1); os._exit(0)\n"
        "    os.close(read); held.append(write)\n"
        "print(*used())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    used, most = map(int, done.stdout.split())
    assert used <= most // 2 + 1
    assert done.stderr == ""


def test_a_keyring_that_cannot_be_left_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    keyrings = Keyrings()
    with caplog.at_level(logging.WARNING, "arker.emulator"):
        keyrings.leave()
        keyrings.leave()
    assert caplog.text.count("keep the session keyring") == 1
