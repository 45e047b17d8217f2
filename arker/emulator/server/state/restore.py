"""How a server takes up what an earlier one has left in its state directory.

First everything is read and checked, and the files are brought into order. What has then become of the runs that were
going on is recorded, and only then are they forgotten or run again. Nothing is removed before all of that has worked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from attrs import define, field, frozen

from arker.emulator.sandbox.base import HOME, LargeOutput, RunSpec, Sandbox, SandboxError
from arker.emulator.sandbox.damaged import DamagedSandbox
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.idempotency import LIFETIME_MS, NOTHING, Entry, Scope
from arker.emulator.server.operations import execution, filesystems, networks
from arker.emulator.server.operations.sessions import carry_over
from arker.emulator.server.outputs import Output, StoredOutput
from arker.emulator.server.records import (
    FilesystemRecord,
    Organisation,
    RunRecord,
    SessionRecord,
    SyncRecord,
    Upload,
    VmRecord,
)
from arker.emulator.server.state.database import Kind, NoRoomError, Operation, put, remove, remove_vm
from arker.emulator.server.state.directory import StateDirectory
from arker.emulator.server.state.keeper import StateKeeper, key_id
from arker.emulator.server.state.shapes import (
    FilesystemDoc,
    KeyDoc,
    OutputDoc,
    RunDoc,
    SessionDoc,
    UploadDoc,
    VmDoc,
    WriteDoc,
    decode,
    encode,
)
from arker.errors import StateDirectoryError, StateDirectoryReason

_T = TypeVar("_T")
_UNENDED: Final = ("pending", "running")
_CLEAR = 'cd -- "$1" && for f in .upload-*; do if [ "${#f}" -eq 32 ]; then rm -f -- "$f"; fi; done'


@frozen
class _Gone:
    """What is left of a deleted VM's sandbox, for the answer to a repeated request."""

    initial_env: Mapping[str, str]


@define
class _Left:
    """What was left, in the order in which it was made."""

    vms: list[VmDoc]
    sessions: list[SessionDoc]
    runs: list[RunDoc]
    uploads: list[UploadDoc]
    filesystems: list[FilesystemDoc]
    keys: list[KeyDoc]
    writes: list[tuple[str, WriteDoc]]
    operations: list[Operation] = field(factory=list[Operation])
    """Changes to record at the end."""
    keyed: set[str] = field(factory=set[str])
    """The ids of VMs that a key still knows."""


class Restoration:
    """The taking up of a state directory.

    Args:
        backend: A backend without records.
        directory: The directory, which its provider has the files in.
        keeper: The keeper that goes on recording.
    """

    def __init__(self, backend: Backend, directory: StateDirectory, keeper: StateKeeper) -> None:
        self._backend = backend
        self._directory = directory
        self._keeper = keeper
        self._damage: Mapping[str, str] = {}
        """What is wrong with the files of VMs that are not whole."""
        self._again: list[RunRecord] = []
        """Runs that are to be started once the server answers."""

    async def restore(self) -> None:
        """Read all records, and fill the backend with them. A VM whose files are damaged is there, but cannot be used.

        Raises:
            StateDirectoryError: Something else is damaged or missing. Then nothing has been changed.
        """
        provider = self._backend.provider
        self._directory.require_isolation(provider.name, note=True)
        left = self._read()
        vms = [doc.vm_id for doc in left.vms if not doc.deleted]
        try:
            self._damage = await provider.recover(vms, [doc.filesystem_id for doc in left.filesystems])
            await self._fill(left)
        except SandboxError as error:
            reason: StateDirectoryReason = "unusable" if error.code == "unusable" else "damaged"
            raise self._directory.refusal(reason, str(error)) from error
        except OSError as error:
            raise self._directory.refusal("unusable", str(error)) from error
        except (KeyError, ValueError) as error:
            raise self._damaged(f"its records do not fit together: {error!r}") from error
        try:
            self._keeper.take_up(left.keyed, left.operations)
        except ServiceError as error:
            raise self._directory.refusal("unusable", error.message) from error
        for warning in self.warnings():
            logger.warning("%s", warning)
        for id, write in left.writes:
            if write.vm_id not in self._damage:
                await self._clear_after(id, write)
        self._discard_spool(left)

    def warnings(self) -> list[str]:
        """Return what people should know of VMs that cannot be used."""
        about = "cannot be used, and its files are left as they are for a repair"
        return [f"VM {vm_id} {about}: {why}" for vm_id, why in self._damage.items()]

    def go_on(self) -> None:
        """Start interrupted runs of durable VMs again, and remove files that are left over, once the server answers."""
        for run in self._again:
            execution.enqueue(self._backend, run, None)
        self._again.clear()
        self._backend.spawn(self._backend.provider.sweep())

    # --- reading ---

    def _read(self) -> _Left:
        left = _Left(
            vms=self._docs("vm", VmDoc),
            sessions=self._docs("session", SessionDoc),
            runs=self._docs("run", RunDoc),
            uploads=self._docs("upload", UploadDoc),
            filesystems=self._docs("filesystem", FilesystemDoc),
            keys=self._docs("key", KeyDoc),
            writes=[(id, self._decoded("write", id, text, WriteDoc)) for id, text in self._records("write")],
        )
        for docs in (left.vms, left.sessions, left.runs, left.filesystems):
            docs.sort(key=lambda doc: doc.seq)
        left.uploads.sort(key=lambda doc: doc.created_ms)
        left.keys.sort(key=lambda doc: doc.since_ms)
        return left

    def _records(self, kind: Kind) -> list[tuple[str, str]]:
        return list(self._directory.database.records(kind))

    def _docs(self, kind: Kind, shape: type[_T]) -> list[_T]:
        return [self._decoded(kind, id, text, shape) for id, text in self._records(kind)]

    def _decoded(self, kind: Kind, id: str, text: str, shape: type[_T]) -> _T:
        try:
            return decode(text, shape)
        except ValueError as error:
            raise self._damaged(f"the record of the {kind} {id}: {error}") from error

    def _damaged(self, what: str) -> StateDirectoryError:
        return self._directory.database.damaged(what)

    # --- filling ---

    async def _fill(self, left: _Left) -> None:
        backend = self._backend
        numbers = [doc.seq for docs in (left.vms, left.sessions, left.runs, left.filesystems) for doc in docs]
        numbers += [sync.seq for vm in left.vms for sync in vm.syncs]
        backend.count_from(max(numbers, default=0) + 1)
        known: dict[str, FilesystemRecord] = {}
        for filesystem in left.filesystems:
            known[filesystem.filesystem_id] = await self._filesystem(filesystem)
        vms = {doc.vm_id: await self._vm(doc, known) for doc in left.vms}
        for session in left.sessions:
            self._session(vms[session.vm_id], session)
        for doc in left.vms:
            vm = vms[doc.vm_id]
            if not doc.deleted:
                await self._settle(vm, doc)
        runs = {doc.run_id: self._run(left, vms[doc.vm_id], doc) for doc in left.runs}
        for upload in left.uploads:
            self._upload(left, vms[upload.vm_id], upload)
        complete = [entry for key in left.keys for entry in self._key(left, key, vms, runs)]
        for scope, entry in sorted(complete, key=lambda pair: pair[1].completed_ms or 0):  # as a ledger has them
            backend.ledger.complete(scope, entry)
        for doc in left.vms:
            if doc.deleted and doc.vm_id not in left.keyed:
                left.operations += remove_vm(doc.vm_id)

    def _organisation(self, org_id: str) -> Organisation:
        """Return an organisation. One that has no key any more keeps what it has."""
        return self._backend.organisations.setdefault(org_id, Organisation(org_id=org_id))

    async def _filesystem(self, doc: FilesystemDoc) -> FilesystemRecord:
        filesystem = FilesystemRecord(
            filesystem_id=doc.filesystem_id,
            seq=doc.seq,
            org_id=doc.org_id,
            name=doc.name,
            created_ms=doc.created_ms,
            region=doc.region,
            volume=await self._backend.provider.adopt_volume(doc.filesystem_id),
        )
        org = self._organisation(doc.org_id)
        org.filesystems[doc.filesystem_id] = filesystem
        org.filesystem_names.add(doc.name)
        return filesystem

    async def _vm(self, doc: VmDoc, known: Mapping[str, FilesystemRecord]) -> VmRecord:
        outlet = networks.outlet(self._backend, doc.network, changeable=True) if doc.has_outlet else None
        if doc.deleted:
            sandbox = cast("Sandbox", _Gone(doc.initial_env))
        elif doc.vm_id in self._damage:
            discard = partial(self._backend.provider.discard_files, doc.vm_id)
            sandbox = DamagedSandbox(doc.initial_env, self._damage[doc.vm_id], discard)
        else:
            sandbox = await self._backend.provider.adopt(doc.vm_id, outlet=outlet)
        vm = VmRecord(
            **doc.same(),
            deleted=doc.deleted,
            damage=self._damage.get(doc.vm_id),
            outlet=outlet,
            sandbox=sandbox,
            sessions=dict[str, SessionRecord](),
        )
        for sync in doc.syncs:
            if doc.deleted:
                continue
            vm.syncs[sync.sync_id] = SyncRecord(
                sync_id=sync.sync_id,
                seq=sync.seq,
                filesystem=known[sync.filesystem_id],
                path=sync.path,
                created_ms=sync.created_ms,
            )
        if not doc.deleted:
            org = self._organisation(doc.org_id)
            org.vms[doc.vm_id] = vm
            if doc.name is not None:
                org.names[doc.name] = vm
        return vm

    def _session(self, vm: VmRecord, doc: SessionDoc) -> None:
        vm.sessions[doc.session_id] = SessionRecord(
            session_id=doc.session_id,
            seq=doc.seq,
            index=doc.index,
            started_ms=doc.started_ms,
            cwd=doc.cwd,
            env=doc.env,
        )

    async def _settle(self, vm: VmRecord, doc: VmDoc) -> None:
        """Make a VM fit for this server: what its sessions have from the VM's own environment, and its filesystems."""
        if not vm.sessions:
            raise ValueError(f"VM {vm.vm_id} has no session")
        for session in vm.sessions.values():
            if session.env and doc.initial_env != vm.sandbox.initial_env:
                session.env = carry_over(session.env, doc.initial_env, vm.sandbox.initial_env)
        if vm.syncs and vm.damage is None:
            await filesystems.apply(vm)

    def _run(self, left: _Left, vm: VmRecord, doc: RunDoc) -> RunRecord:
        session = vm.sessions.get(doc.session_id)
        if session is None:  # it has been deleted; only its runs' records are left
            session = SessionRecord(session_id=doc.session_id, seq=0, index=0, started_ms=doc.started_ms)
        run = RunRecord(**doc.same(), vm=vm, session=session)
        wanted = doc.stop_reason is not None or doc.signalled is not None
        again = vm.durable and vm.damage is None and doc.session_id in vm.sessions and not wanted
        if doc.state in _UNENDED and again:
            run.retry_count += doc.state == "running"
            run.state = "pending" if session.pending else "running"
            session.pending += 1
            self._again.append(run)
            left.operations.append(put("run", run.run_id, encode(RunDoc.of(run)), vm.vm_id))
        elif doc.state in _UNENDED:
            begun = "while the command was running" if doc.state == "running" else "before the command was started"
            after = "" if doc.signalled is None else f", to which {doc.signalled} had been sent"
            run.state, run.fail_reason = "failed", f"the embedded backend ended {begun}{after}"
            if vm.durable and vm.damage is not None:
                run.fail_reason += f"; it is not run again, since the VM is damaged: {vm.damage}"
            if doc.stop_reason is not None:
                execution.settle_stopped(run)
            run.completed_ms = max(self._backend.clock.now_ms(), run.started_ms)
            empty = OutputDoc(size=0)
            left.operations.append(put("run", run.run_id, encode(RunDoc.of(run, empty, empty)), vm.vm_id))
        else:
            run.kept_stdout = self._output(run, "stdout", doc.stdout)
            run.kept_stderr = self._output(run, "stderr", doc.stderr)
        if run.completed_ms is not None:
            run.started.set()
            run.done.set()
        vm.runs[run.run_id] = run
        return run

    def _output(self, run: RunRecord, name: str, doc: OutputDoc | None) -> Output:
        if doc is None or doc.lost:
            size = 0 if doc is None else doc.size
            lost = f"{size} bytes of {name} are lost: the state directory had no room for them"
            run.fail_reason = lost if run.fail_reason is None else f"{run.fail_reason}; {lost}"
            return b""
        if doc.file is not None:
            path = self._directory.spool / doc.file
            if not path.is_file() or path.stat().st_size < doc.size:
                raise ValueError(f"the {name} of run {run.run_id} should be in {path}, and is not there")
            return StoredOutput(LargeOutput(path, doc.size, b""), lasting=True)
        content = self._directory.database.output(run.run_id, name) if doc.size else b""
        if content is None or len(content) != doc.size:
            raise ValueError(f"there is no {name} of run {run.run_id}")
        return content

    def _upload(self, left: _Left, vm: VmRecord, doc: UploadDoc) -> None:
        spool = self._directory.spool / doc.spool
        if not doc.written and (doc.ranges or doc.received) and not spool.is_file():
            # It was given up, which had not been recorded yet.
            left.operations.append(remove("upload", f"{vm.vm_id} {doc.upload_id}"))
            return
        vm.uploads[doc.upload_id] = Upload(
            upload_id=doc.upload_id,
            kind=doc.kind,
            path=doc.path,
            size=doc.size,
            spool=spool,
            created_ms=doc.created_ms,
            ranges=doc.ranges,
            expected=doc.expected,
            received=doc.received,
            written=doc.written,
        )

    def _key(
        self, left: _Left, doc: KeyDoc, vms: Mapping[str, VmRecord], runs: Mapping[str, RunRecord]
    ) -> list[tuple[Scope, Entry]]:
        """Take up an idempotency key. Returns it if its operation is complete."""
        backend = self._backend
        values: dict[str, Mapping[str, Any]] = {"vm": vms, "run": runs, "nothing": {"": NOTHING}}
        value = values[doc.kind].get(doc.value)
        ended_ms = doc.since_ms
        if isinstance(value, RunRecord):
            ended_ms = value.completed_ms or backend.clock.now_ms()
        if value is None or ended_ms + LIFETIME_MS <= backend.clock.now_ms():
            # A run goes with its VM; of a fork there is always something left.
            left.operations.append(remove("key", key_id(doc.scope)))
            return []
        if isinstance(value, VmRecord):
            left.keyed.add(value.vm_id)
        entry = backend.ledger.open(doc.scope, bytes.fromhex(doc.digest), doc.subject)
        backend.ledger.settle(entry, value)
        if isinstance(value, RunRecord) and not value.done.is_set():
            backend.spawn(backend.ledger.complete_after(doc.scope, entry, value.done))
            return []
        entry.completed_ms = ended_ms
        return [(doc.scope, entry)]

    # --- leftovers ---

    async def _clear_after(self, id: str, write: WriteDoc) -> None:
        """Remove the temporary file of a file that was being put into a VM when the server ended. The VM does it: only
        inside of it a path means what it says.
        """
        vm = self._backend.find_anywhere(write.vm_id)
        if vm is not None:
            directory = str(Path(HOME, write.path).parent)
            command = f"set -- {shlex.quote(directory)}; {_CLEAR}"
            try:
                await (await vm.sandbox.run(RunSpec(command=command, output_limit=1024))).wait()
            except SandboxError as error:
                logger.warning("VM %s may keep a part of %s under a temporary name: %s", vm.vm_id, write.path, error)
                return
        try:
            self._directory.database.apply([remove("write", id)], urgent=True)
        except NoRoomError as error:  # the next server finds nothing to remove, and forgets it
            logger.warning("it could not be recorded that VM %s is clear of a part: %s", write.vm_id, error)

    def _discard_spool(self, left: _Left) -> None:
        wanted = {doc.spool for doc in left.uploads if not doc.written}
        for run in left.runs:
            wanted |= {output.file for output in (run.stdout, run.stderr) if output is not None and output.file}
        for path in _files(self._directory.spool):
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def _files(directory: Path) -> Iterable[Path]:
    return sorted(path for path in directory.iterdir() if not path.is_dir())


__all__ = ["Restoration"]
