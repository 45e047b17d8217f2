"""A VM that takes all it can get of one thing after the other: it is told so, and the others go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.soak.conftest import Soak
from tests.soak.filling import FILLERS

ROOT = Path(__file__).parents[2]
_MEMORY = 800 << 20
_RESULTS = {
    "memory": "SIGKILL",
    "shared memory": "512 ENOSPC",
    "files in shared memory": "65535 ENOSPC",
    "disk": "ENOSPC",
    "inodes": "ENOSPC",
    "processes": "EAGAIN",
    "descriptors": "EMFILE",
    "keys": "0 EPERM",
    "inotify instances": "EMFILE",
    "timers": "4096 EAGAIN",
    "message queues": "EMFILE",
}

_QUICK = ("memory", "keys", "inotify instances", "timers", "message queues")
"""What the suite tries."""

# Namespaces of their own, so that an ordinary user may mount something, too, and then is an ordinary user again.
_MOUNT = 'mount -t tmpfs -o size=128m,nr_inodes=4000,mode=711 none "$1" && shift && exec'
_ROOT = ["unshare", "--mount", "sh", "-c", f'{_MOUNT} "$@"', "sh"]
_USER = [
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    *(f'{_MOUNT} unshare --user --map-user=1000 --map-group=1000 "$@"', "sh"),
]


@contextmanager
def memory_cgroup() -> Generator[tuple[Path, Path] | None]:
    """Return the files of a cgroup of 800 MB: its processes, its limit; None if this process may make no cgroup."""
    for base, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        place = Path(base) / f"arker-filling-{os.getpid()}"
        with suppress(OSError):
            place.mkdir()
            try:
                (place / name).write_text(str(_MEMORY))
            except OSError:
                place.rmdir()
                raise
            try:
                yield place / "cgroup.procs", place / name
            finally:
                place.rmdir()
            return
    yield None


def test_a_vm_that_takes_all_it_can_get(soak: Soak) -> None:
    with memory_cgroup() as cgroup, tempfile.TemporaryDirectory() as place:
        names = [name for name in FILLERS if soak.scale >= 1 or name in _QUICK]
        enter, limit = [], "-"
        if cgroup is None:
            names.remove("memory")  # it would take that of the whole machine
        else:
            enter, limit = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup[0])], str(cgroup[1])
        command = [*enter, *(_ROOT if os.getuid() == 0 else _USER), place, sys.executable]
        command += ["-m", "tests.soak.filling", place, limit, *names]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=False)
    assert done.returncode == 0
    reports: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    print(*reports, sep="\n")
    assert [report["what"] for report in reports] == names
    for report in reports:
        assert _RESULTS[report["what"]] in report["told"], report
        assert (report["other VM"], report["host"], report["afterwards"]) == ("fine", "fine", "fine"), report
        if report["what"] in ("disk", "inodes"):
            # The fork is refused, or the first command that needs a place of its own is.
            assert report["new VM"].startswith(("CapacityUnavailableError: fork", "failed: ")), report
            assert "the server's disk is full" in report["new VM"], report
        else:
            assert report["new VM"] == "fine", report
