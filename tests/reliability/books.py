"""What programs under faults know afterwards, and whether it is true."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from attrs import define, field

from arker import ArkerError, AsyncArker, NotFoundError
from arker.emulator import Emulator

LOG: Final = "log"
"""The file that commands add their tokens to."""


@define
class Books:
    """What the programs of some rounds have done, as far as they know.

    Attributes:
        operations: How many of each kind were asked for.
        cancelled: How many were cancelled.
        errors: What was raised, by class and outcome.
        foreign: Unexpected exceptions that are no `ArkerError`.
        retries: How often the client has tried again.
        done: The tokens of commands that ended with a result, by VM.
        begun: The same of all commands that were asked for.
        untouched: The tokens of commands of which the error says that they were not started.
        files: What was written for sure, by VM and path.
        perhaps: What may have been written.
        unwritten: Paths of which the error says that they were not written.
        kept: VMs that the programs know and have not deleted.
        doubtful: VMs of which an error or the log says that they may exist, or that were being deleted.
        keys: Keys of forks of which an error says that they may have made a VM.
        mistakes: Results that were not right.
    """

    operations: Counter[str] = field(factory=Counter[str])
    cancelled: Counter[str] = field(factory=Counter[str])
    errors: Counter[str] = field(factory=Counter[str])
    foreign: list[str] = field(factory=list[str])
    retries: int = 0
    done: dict[str, set[str]] = field(factory=dict[str, set[str]])
    begun: dict[str, set[str]] = field(factory=dict[str, set[str]])
    untouched: set[str] = field(factory=set[str])
    files: dict[tuple[str, str], bytes] = field(factory=dict[tuple[str, str], bytes])
    perhaps: dict[tuple[str, str], bytes] = field(factory=dict[tuple[str, str], bytes])
    unwritten: set[tuple[str, str]] = field(factory=set[tuple[str, str]])
    kept: set[str] = field(factory=set[str])
    doubtful: set[str] = field(factory=set[str])
    keys: set[str] = field(factory=set[str])
    mistakes: list[str] = field(factory=list[str])

    def failed(self, error: ArkerError) -> None:
        """Note an error."""
        self.errors[f"{type(error).__name__}, {error.outcome}"] += 1

    def expect(self, right: bool, what: str) -> None:
        """Note a mistake, unless all is right."""
        if not right:
            self.mistakes.append(what)


class Warnings(logging.Handler):
    """What the client's log says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@define
class Audit:
    """What was found out.

    Attributes:
        faults: What is wrong, in words.
        executions: Commands that were started.
        forks: VMs that were made.
        orphans: VMs that no program knows, but an error or the log names.
        findings: Numbers of things that were looked at.
    """

    faults: list[str] = field(factory=list[str])
    executions: int = 0
    forks: int = 0
    orphans: int = 0
    findings: Counter[str] = field(factory=Counter[str])


async def audit(emulator: Emulator, steady: AsyncArker, books: Books, warnings: list[str]) -> Audit:
    """Hold the books against what the server did, with no faults set and nothing going on."""
    found = Audit(faults=[*books.mistakes, *books.foreign])
    _check_executions(emulator, books, found)
    alive = {vm.vm_id for vm in await steady.list_vms(limit=1000)}
    _check_vms(emulator, books, warnings, alive, found)
    for vm_id in books.kept & alive:
        await _check_log(steady, vm_id, books, found)
    await _check_files(steady, alive & books.kept, books, found)
    return found


def _check_executions(emulator: Emulator, books: Books, found: Audit) -> None:
    executions = emulator.journal.executions()
    found.executions = len(executions)
    keys = Counter((each.vm_id, each.idempotency_key) for each in executions)
    found.faults += [f"the key {key} has {count} executions" for (_, key), count in keys.items() if count > 1]
    started = Counter(each.command for each in executions)
    found.faults += [f"{command!r} was started {count} times" for command, count in started.items() if count > 1]
    commands = "\n".join(started)
    for vm_id, tokens in books.done.items():
        found.findings["results of runs"] += len(tokens)
        found.faults += [f"{token} was reported in {vm_id}, not started" for token in tokens if token not in commands]
    found.faults += [f"{token} was started, and the error denies it" for token in books.untouched if token in commands]


def _check_vms(emulator: Emulator, books: Books, warnings: list[str], alive: set[str], found: Audit) -> None:
    forks = emulator.journal.forks()
    found.forks = len(forks)
    keys = Counter(each.idempotency_key for each in forks)
    found.faults += [f"the key {key} has {count} VMs" for key, count in keys.items() if count > 1]
    told = "\n".join(warnings)
    of_key = {each.vm_id: each.idempotency_key or "" for each in forks}
    found.faults += [f"the VM {vm_id} is lost" for vm_id in books.kept - alive]
    found.findings["VMs that are kept"] += len(books.kept)
    for vm_id in alive - books.kept:
        key = of_key.get(vm_id, "")
        if vm_id in books.doubtful or key in books.keys or vm_id in told or (key and key in told):
            found.orphans += 1
        else:
            found.faults.append(f"the VM {vm_id} is unknown")


async def _check_log(steady: AsyncArker, vm_id: str, books: Books, found: Audit) -> None:
    try:
        written = (await steady.vm(vm_id).sync(LOG)).decode().split()
    except NotFoundError:
        written = []
    counts = Counter(written)
    found.findings["lines of commands"] += len(written)
    found.faults += [f"{token} stands {count} times in {vm_id}" for token, count in counts.items() if count > 1]
    found.faults += [f"{token} is missing in {vm_id}" for token in books.done.get(vm_id, set()) - set(counts)]
    found.faults += [f"{token} belongs to no call" for token in set(counts) - books.begun.get(vm_id, set())]


async def _check_files(steady: AsyncArker, vms: set[str], books: Books, found: Audit) -> None:
    for (vm_id, path), data in {**books.files, **books.perhaps}.items():
        if vm_id not in vms:
            continue
        sure = (vm_id, path) in books.files
        found.findings["files"] += 1
        try:
            right = await steady.vm(vm_id).sync(path) == data
        except NotFoundError:
            right = not sure
        else:
            right = right and (vm_id, path) not in books.unwritten
        if not right:
            found.faults.append(f"the file {path} of {vm_id} is not what the client said")


__all__ = ["LOG", "Audit", "Books", "Warnings", "audit"]
