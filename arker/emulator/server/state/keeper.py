"""The keeper that writes a state directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Sequence
from typing import Final

from arker.emulator.server.backend import logger
from arker.emulator.server.errors import ServiceError, lacking
from arker.emulator.server.idempotency import Entry, Scope
from arker.emulator.server.keeper import Keeper, Key
from arker.emulator.server.outputs import KEPT_SMALL, Output, StoredOutput
from arker.emulator.server.records import FilesystemRecord, RunRecord, SessionRecord, Upload, VmRecord
from arker.emulator.server.state.database import (
    REMOVE_ALL,
    Database,
    NoRoomError,
    Operation,
    put,
    put_output,
    remove,
    remove_vm,
)
from arker.emulator.server.state.shapes import (
    FilesystemDoc,
    KeyDoc,
    KeyKind,
    OutputDoc,
    RunDoc,
    SessionDoc,
    UploadDoc,
    VmDoc,
    WriteDoc,
    encode,
)

_CHANGEABLE: Final = (
    *("network", "rules", "vcpu_count", "memory_mib", "max_memory_mib", "disk_mib", "description", "immutable"),
    "last_active_ms",
)
_OF_DEAD_VMS: Final = frozenset(("unavailable", "internal"))
"""Codes of errors after which a VM may not have cleaned up."""


class StateKeeper(Keeper):
    """The keeper of a state directory.

    Args:
        database: Its database.
    """

    lasting = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._later: list[Operation] = []
        """What goes along with the next commit."""
        self._keyed: set[str] = set()
        """The ids of VMs that a key still knows."""
        self._closed = False

    def add_vm(self, vm: VmRecord, key: Key | None, run: RunRecord | None = None) -> None:
        sessions = [_put_session(vm, session) for session in vm.sessions.values()]
        runs = [] if run is None else [_put_run(run)]
        self._apply([_put_vm(vm), *sessions, *runs, *_put_key(key, "vm", vm.vm_id, vm.created_ms)])
        if key is not None:
            self._keyed.add(vm.vm_id)

    @contextlib.contextmanager
    def changing(self, vm: VmRecord) -> Generator[None]:
        before = {name: getattr(vm, name) for name in _CHANGEABLE}
        try:
            yield
            self.save_vm(vm)
        except BaseException:
            for name, value in before.items():
                setattr(vm, name, value)
            raise

    def save_vm(self, vm: VmRecord) -> None:
        if not vm.deleted:
            self._apply([_put_vm(vm)])

    def forget_vm(self, vm: VmRecord) -> None:
        kept: list[Operation] = []
        if vm.vm_id in self._keyed:  # a repeated request has to find that it is deleted
            kept = [put("vm", vm.vm_id, encode(VmDoc.of(vm, deleted=True)))]
        self._apply([*remove_vm(vm.vm_id), *kept], urgent=True)

    def add_session(self, vm: VmRecord, session: SessionRecord) -> None:
        if not vm.deleted:
            self._apply([_put_vm(vm), _put_session(vm, session)])

    def forget_session(self, session: SessionRecord) -> None:
        self._apply([remove("session", session.session_id)], urgent=True)

    def add_run(self, run: RunRecord, key: Key | None) -> None:
        self._apply([_put_run(run), _put_vm(run.vm), *_put_key(key, "run", run.run_id, run.started_ms)])

    def start_run(self, run: RunRecord) -> None:
        if not run.vm.deleted:
            self._apply_sometime([_put_run(run)])

    def stop_run(self, run: RunRecord) -> None:
        if not run.vm.deleted:
            self._apply_sometime([_put_run(run)])

    def end_run(self, run: RunRecord) -> None:
        vm = run.vm
        if vm.deleted:
            return
        operations: list[Operation] = []
        docs: dict[str, OutputDoc] = {}
        for name, output in (("stdout", run.kept_stdout), ("stderr", run.kept_stderr)):
            docs[name], content = _output_doc(output)
            if content:
                operations.append(put_output(run.run_id, name, vm.vm_id, content))
        doc = RunDoc.of(run, **docs)
        operations += [put("run", run.run_id, encode(doc), vm.vm_id), _put_vm(vm)]
        if run.session.session_id in vm.sessions:
            operations.append(_put_session(vm, run.session))
        self._apply_sometime(operations)

    def acknowledge(self, key: Key | None) -> None:
        if key is not None:
            self._apply(_put_key(key, "nothing", "", key.entry.completed_ms or 0))

    def forget_key(self, scope: Scope, entry: Entry) -> None:
        self._later.append(remove("key", key_id(scope)))
        if isinstance(entry.value, VmRecord):
            self._keyed.discard(entry.value.vm_id)
            if entry.value.deleted:
                self._later.append(remove("vm", entry.value.vm_id))

    def add_filesystem(self, filesystem: FilesystemRecord) -> None:
        self._apply([put("filesystem", filesystem.filesystem_id, encode(FilesystemDoc.of(filesystem)))])

    def forget_filesystem(self, filesystem: FilesystemRecord) -> None:
        self._apply([remove("filesystem", filesystem.filesystem_id)], urgent=True)

    def save_upload(self, vm: VmRecord, upload: Upload) -> None:
        if not vm.deleted:
            doc = encode(UploadDoc.of(upload, vm.vm_id))
            self._later.append(put("upload", f"{vm.vm_id} {upload.upload_id}", doc, vm.vm_id))

    def forget_upload(self, vm: VmRecord, upload: Upload) -> None:
        self._later.append(remove("upload", f"{vm.vm_id} {upload.upload_id}"))

    def flush(self) -> None:
        if self._later:
            self._apply([])

    @contextlib.contextmanager
    def writing(self, vm: VmRecord, path: str) -> Generator[None]:
        # Not a number: an earlier server's note may still be there.
        id = f"{vm.vm_id} {os.urandom(8).hex()}"
        if not vm.deleted:
            self._apply([put("write", id, encode(WriteDoc(vm_id=vm.vm_id, path=path)), vm.vm_id)])
        left = True
        try:
            yield
            left = False
        except (OSError, ServiceError) as error:
            # A VM leaves nothing of a file that it has refused, unless it has died.
            left = isinstance(error, ServiceError) and error.code in _OF_DEAD_VMS
            raise
        finally:
            if not left:
                self._later.append(remove("write", id))

    def forget_all(self) -> None:
        self._later.clear()
        self._keyed.clear()
        self._apply(REMOVE_ALL, urgent=True)

    def take_up(self, keyed: set[str], operations: Sequence[Operation]) -> None:
        """Take up what an earlier server has left, and record what has become of it."""
        self._keyed = keyed
        self._apply(operations, urgent=True)  # with a full disk, too: only a server that runs can delete something

    def close(self) -> None:
        """Record what is left to be recorded. From then on nothing is recorded: VMs end, and their runs with them."""
        try:
            self._database.apply(self._later, urgent=True)
        except NoRoomError as error:
            logger.warning("some of the latest changes are not in the state directory: %s", error)
        self._closed = True

    def _apply(self, operations: Sequence[Operation], *, urgent: bool = False) -> None:
        """Record operations, and what was waiting, in one commit. Raises `ServiceError`."""
        if self._closed:
            return
        try:
            self._database.apply([*self._later, *operations], urgent=urgent)
        except NoRoomError as error:
            raise lacking(str(error)) from error
        self._later.clear()
        self._database.tidy()

    def _apply_sometime(self, operations: Sequence[Operation]) -> None:
        """Record operations of something that has happened: now, or as soon as there is room."""
        if self._closed:
            return
        self._later += operations
        try:
            self._database.apply(self._later, urgent=True)
        except NoRoomError as error:
            logger.warning("the end of a run will be recorded later: %s", error)
        else:
            self._later.clear()
            self._database.tidy()


def _put_vm(vm: VmRecord) -> Operation:
    return put("vm", vm.vm_id, encode(VmDoc.of(vm)))


def _put_session(vm: VmRecord, session: SessionRecord) -> Operation:
    return put("session", session.session_id, encode(SessionDoc.of(vm, session)), vm.vm_id)


def _put_run(run: RunRecord) -> Operation:
    return put("run", run.run_id, encode(RunDoc.of(run)), run.vm.vm_id)


def _put_key(key: Key | None, kind: KeyKind, value: str, since_ms: int) -> list[Operation]:
    if key is None:
        return []
    doc = KeyDoc(
        scope=key.scope,
        digest=key.entry.digest.hex(),
        subject=key.entry.subject,
        kind=kind,
        value=value,
        since_ms=since_ms,
    )
    return [put("key", key_id(key.scope), encode(doc))]


def key_id(scope: Scope) -> str:
    """Return the id of a key's record."""
    return json.dumps(scope)


def _output_doc(output: Output) -> tuple[OutputDoc, bytes]:
    """Return where an output is, and the content of one that goes into the database."""
    if isinstance(output, StoredOutput):
        content = output.content
        if not content.rest:
            return OutputDoc(size=content.stored, file=content.path.name), b""
        return OutputDoc(size=len(content), lost=True), b""
    if isinstance(output, bytes) and len(output) <= KEPT_SMALL:
        return OutputDoc(size=len(output)), output
    return OutputDoc(size=0 if output is None else len(output), lost=True), b""


__all__ = ["StateKeeper", "key_id"]
