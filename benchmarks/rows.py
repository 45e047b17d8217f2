"""The rows of the table, in its order, with their bounds. `__main__.py` runs them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from benchmarks.measure import Bound


@frozen(kw_only=True)
class Spec:
    """A row, or several that are measured together.

    Attributes:
        bounds: The bound of each row by its name; None for a row that is only shown.
        module: The module of its function.
        function: Its function, which gets the base URL of the loopback server, and the arguments.
        arguments: Further arguments.
        tls: Whether it gets the base URL over TLS.
    """

    bounds: dict[str, Bound | None]
    module: str
    function: str = "measure"
    arguments: tuple[Any, ...] = ()
    tls: bool = False


def _one(name: str, at_most: float | None, place: str, *arguments: Any, tls: bool = False) -> dict[str, Spec]:
    """Return a row whose ratio is bounded; ``place`` is its module, with the function unless that is `measure`."""
    module, _, function = place.partition(":")
    bound = None if at_most is None else Bound(at_most)
    return {
        name: Spec(bounds={name: bound}, module=module, function=function or "measure", arguments=arguments, tls=tls)
    }


def _vms(name: str, at_most: float | None, place: str) -> dict[str, Spec]:
    """Return a row of VMs, where the time in seconds or the memory in bytes is bounded."""
    module, _, function = place.partition(":")
    bound = None if at_most is None else Bound(at_most, "ours")
    return {name: Spec(bounds={name: bound}, module=module, function=function or "measure")}


def _late(kind: str, bounds: dict[int, tuple[float, float]], *, tls: bool = False) -> dict[str, Spec]:
    """Return the rows of 500 VMs at once for each delay of the server in milliseconds: wall and CPU time."""
    specs: dict[str, Spec] = {}
    for late, (wall, cpu) in bounds.items():
        name = f"{kind}{late}{'tls' if tls else ''}"
        each: dict[str, Bound | None] = {name: Bound(wall), f"{name}cpu": Bound(cpu)}
        specs[name] = Spec(bounds=each, module=kind, arguments=(name, late), tls=tls)
    return specs


_FANOUT: Final = {1: (1.05, 1.05), 20: (1.15, 1.2), 100: (1.1, 1.2), 300: (1.1, 1.2)}
_FLEET: Final = {1: (1.15, 1.2), 20: (1.15, 1.2), 100: (1.15, 1.2), 300: (1.15, 1.2)}
_MIB: Final = 1024 * 1024

ROWS: Final[dict[str, Spec]] = {
    **_one("call", 1.2, "call", "call"),
    **_one("calltls", 1.2, "call", "calltls", tls=True),
    **_late("fanout", _FANOUT),
    **_late("fanout", _FANOUT, tls=True),
    **_late("fleet", _FLEET),
    **_late("fleet", _FLEET, tls=True),
    **_one("import", 0.5, "import_"),  # 100 ms where aiohttp takes 200
    **_one("page", 3.0, "page"),
    **_one("inline", 1.5, "inline", "inline", True),
    **_one("inlineplain", 1.5, "inline", "inlineplain", False),
    **_one("inlineread", 1.5, "inline:measure_read"),
    **_one("sync", 1.6, "blocking"),
    **_one("threads", 2.0, "threads"),
    **_one("upload", 1.2, "upload:measure_memory", "upload", False),
    **_one("uploadtls", 1.2, "upload:measure_memory", "uploadtls", True),
    **_one("uploaddigest", 2.7, "upload:measure_beside_none", "uploaddigest", True),
    **_one("uploadplain", 1.2, "upload:measure_beside_none", "uploadplain", False),
    **_one("uploadfile", 1.3, "upload:measure_file"),
    **_one("download", 1.1, "download:measure_memory", "download", False),
    **_one("downloadtls", 1.1, "download:measure_memory", "downloadtls", True),
    **_one("downloadfile", 1.3, "download:measure_file"),
    **_one("many", 3.0, "many"),
    **_one("cappedup", 0.2, "capped:measure_up"),
    **_one("cappeddown", 0.2, "capped:measure_down"),
    **_vms("vmfork", 0.04, "vmfork"),
    **_vms("vmrun", 0.015, "vmrun"),
    **_one("runenv", 1.2, "vmruns:measure_env"),
    **_one("runkill", 1.5, "vmruns:measure_kill"),
    **_one("runsatonce", 1.2, "vmruns:measure_at_once"),
    **_one("vmstat", 2.0, "vmfiles:measure_stat"),
    **_one("vmlistdir", 2.0, "vmfiles:measure_listdir"),
    **_vms("ptyecho", 0.005, "terminals:measure_echo"),
    **_one("ptyflow", 3.0, "terminals:measure_flow"),
    **_vms("vmwarm", 0.015, "vmwarm"),
    **_vms("vmstart", None, "vmstart"),
    **_vms("vmlarge", 0.03, "vmlarge"),
    **_vms("vmlargelive", None, "vmlarge:measure_live"),
    **_vms("vmcrowd", 1.5, "vmcrowd"),
    **_vms("vmidle", 3 * _MIB, "vmidle"),
    **_vms("vmwalls", None, "vmwalls"),
    **_one("vmstate", 1.25, "vmstate"),
}
"""The rows by the name on the command line."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "speed": (
        "call*", "fanout*", "fleet*", "inline*", "page", "uploaddigest", "uploadplain", "download",
        "vmwarm", "vmlarge*", "vmcrowd", "vmidle",
    ),
}  # fmt: skip
"""Rows that are shown together, by a name of their own."""


def chosen(patterns: Sequence[str]) -> list[str]:
    """Return the names of the rows that match names of rows, names of groups, or patterns as of the shell.

    Raises:
        ValueError: Nothing has the name, or matches the pattern.
    """
    names: list[str] = []
    for pattern in patterns:
        found = [name for each in GROUPS.get(pattern, (pattern,)) for name in fnmatch.filter(ROWS, each)]
        if not found:
            raise ValueError(f"no such row: {pattern}; there are {', '.join([*ROWS, *GROUPS])}")
        names += found
    return list(dict.fromkeys(names))


__all__ = ["GROUPS", "ROWS", "Spec", "chosen"]
