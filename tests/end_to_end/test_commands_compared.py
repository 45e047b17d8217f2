"""Commands in a VM beside the same by `subprocess` here: environments, inputs, directories, outputs, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arker.emulator import Emulator
from arker_sync import VM, Arker
from tests.support.length import times

BASE: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}

SPECIAL: Final = (
    # A shell computes these itself, whatever its environment says.
    *("BASH", "BASHPID", "BASH_ARGV0", "BASH_COMMAND", "BASH_SUBSHELL", "BASH_VERSION", "DIRSTACK", "EPOCHREALTIME"),
    *("EPOCHSECONDS", "FUNCNAME", "GROUPS", "HISTCMD", "HOSTNAME", "HOSTTYPE", "LINENO", "MACHTYPE", "OLDPWD"),
    *(
        "OPTIND",
        "OSTYPE",
        "PIPESTATUS",
        "PPID",
        "PS4",
        "PWD",
        "RANDOM",
        "SECONDS",
        "SHLVL",
        "SRANDOM",
        "UID",
        "EUID",
        "_",
    ),
    # Another subprocess finds no programs, no libraries, no text with these.
    *("PATH", "IFS", "LANG", "BASH_ENV", "POSIXLY_CORRECT", "TZ", "HOME"),
)
PREFIXES: Final = ("LC_", "LD_", "BASH", "PYTHON", "GCONV")

NAMES: Final = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name not in SPECIAL and not name.startswith(PREFIXES)
)
TEXT: Final = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
NASTY: Final = st.text(st.sampled_from("'\"\\$`\n\r\t !*?~%-#;&|<>(){}[]=ü€\x1b\x7f"), max_size=40)
VALUES: Final = TEXT | NASTY
SIZES: Final = st.sampled_from((0, 1, 4096, 16_383, 16_384, 16_385, 70_000))
REPEATED: Final = st.tuples(SIZES, st.binary(min_size=1, max_size=8)).map(lambda made: (made[1] * made[0])[: made[0]])
INPUTS: Final = st.none() | st.binary(max_size=300) | VALUES.map(str.encode) | REPEATED


@frozen
class Case:
    """What a command gets."""

    env: dict[str, str]
    cwd: str
    data: bytes | None
    status: int


CASES: Final = st.builds(
    Case,
    env=st.dictionaries(NAMES, VALUES, max_size=4),
    cwd=st.sampled_from(("/", "/usr", "/tmp", "/usr/bin/../lib")),
    data=INPUTS,
    status=st.integers(0, 255),
)


def command(case: Case) -> str:
    names = " ".join(sorted(case.env))
    each = "".join(f"printf '%s=%s\\0' {name} \"${name}\"; printenv {name}; " for name in sorted(case.env))
    return f"{each}: {names}; pwd -P; echo --; cat; echo oh >&2; exit {case.status}"


def here(case: Case) -> tuple[bytes, bytes, int]:
    done = subprocess.run(
        ["/bin/bash", "-c", command(case)],
        env={**BASE, **case.env},
        cwd=case.cwd,
        input=case.data or b"",
        capture_output=True,
        check=False,
        timeout=300,
    )
    return done.stdout, done.stderr, done.returncode


def there(vm: VM, case: Case) -> tuple[bytes, bytes, int | None]:
    result = vm.run(command(case), env=case.env, cwd=case.cwd, input=case.data)
    return result.stdout, result.stderr, result.exit_code


@pytest.fixture
def vm(arker_emulator: Emulator) -> Iterator[VM]:
    with Arker(**arker_emulator.client_options) as client, client.fork("ubuntu") as made:
        yield made


@pytest.mark.skipif(sys.platform != "linux", reason="a VM's programs and this machine's are the same on Linux only")
def test_a_command_does_the_same_in_a_vm_as_here(vm: VM) -> None:
    compared: list[Case] = []

    @settings(
        max_examples=times(1000, suite=40),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(CASES)
    def compare(case: Case) -> None:
        compared.append(case)
        assert there(vm, case) == here(case)

    compare()
    assert len(compared) >= times(1000, suite=40)
    assert vm.run("ls -A /tmp; pwd").stdout == b"/home/user\n"
