"""The records of a server as they are written down: one shape a kind, as JSON.

Strings of a VM may hold bytes that are no UTF-8, as lone surrogates: the library's own encoder writes them as escapes.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeAlias, TypeVar

from attrs import field, frozen
from cattrs import BaseValidationError, Converter

from arker.emulator.server.records import (
    FilesystemRecord,
    RunRecord,
    SessionRecord,
    State,
    StopReason,
    Upload,
    VmRecord,
)

KeyKind: TypeAlias = Literal["vm", "run", "nothing"]
_T = TypeVar("_T")
_converter: Final = Converter(forbid_extra_keys=True)


@frozen(kw_only=True)
class SyncDoc:
    """A filesystem bound into a VM."""

    sync_id: str
    seq: int
    filesystem_id: str
    path: str
    created_ms: int


@frozen(kw_only=True)
class VmDoc:
    """A VM, without its sessions and runs.

    Attributes:
        initial_env: The environment that its sessions begin with, so that their own changes can be told from it.
        has_outlet: Whether it has a way out, or may get one.
        deleted: Whether only an idempotency key still knows it.
    """

    vm_id: str
    seq: int
    org_id: str
    name: str | None
    public: bool
    created_ms: int
    region: str
    provider: str
    root_id: str | None
    root_name: str | None
    network: dict[str, Any]
    rules: dict[str, dict[str, Any]] | None
    has_outlet: bool
    disk: bool
    vcpu_count: int
    memory_mib: int
    max_memory_mib: int | None
    disk_mib: int
    description: str | None
    immutable: bool
    durable: bool
    last_active_ms: int
    next_index: int
    syncs: list[SyncDoc]
    initial_env: dict[str, str] = field(repr=False)
    deleted: bool = False

    @classmethod
    def of(cls, vm: VmRecord, *, deleted: bool = False) -> VmDoc:
        same = {name: getattr(vm, name) for name in _SAME_OF_VM}
        return cls(
            **same,
            deleted=deleted,
            has_outlet=vm.outlet is not None,
            syncs=[
                SyncDoc(
                    sync_id=sync.sync_id,
                    seq=sync.seq,
                    filesystem_id=sync.filesystem.filesystem_id,
                    path=sync.path,
                    created_ms=sync.created_ms,
                )
                for sync in vm.syncs.values()
            ],
            initial_env=dict(vm.sandbox.initial_env),
        )

    def same(self) -> dict[str, Any]:
        """Return the members that a record has as they are."""
        return {name: getattr(self, name) for name in _SAME_OF_VM}


_SAME_OF_VM: Final = (
    *("vm_id", "seq", "org_id", "name", "public", "created_ms", "region", "provider", "root_id", "root_name"),
    *("network", "rules", "disk", "vcpu_count", "memory_mib", "max_memory_mib", "disk_mib", "description", "immutable"),
    *("durable", "last_active_ms", "next_index"),
)


@frozen(kw_only=True)
class SessionDoc:
    """A session of a VM."""

    session_id: str
    vm_id: str
    seq: int
    index: int
    started_ms: int
    cwd: str
    env: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, vm: VmRecord, session: SessionRecord) -> SessionDoc:
        return cls(
            session_id=session.session_id,
            vm_id=vm.vm_id,
            seq=session.seq,
            index=session.index,
            started_ms=session.started_ms,
            cwd=session.cwd,
            env=session.env,
        )


@frozen(kw_only=True)
class OutputDoc:
    """Where an output of a run is.

    Attributes:
        size: Its bytes.
        file: The file in the spool that has it; None for one that is in the database.
        lost: Whether there was no place for it.
    """

    size: int
    file: str | None = None
    lost: bool = False


@frozen(kw_only=True)
class RunDoc:
    """A run. One that has ended has both outputs.

    Attributes:
        stop_reason: Why it was to end; None if it was not.
        signalled: The signal that it was sent to end it.
    """

    run_id: str
    vm_id: str
    session_id: str
    seq: int
    command: str = field(repr=False)
    timeout: float | None
    started_ms: int
    completed_ms: int | None
    state: State
    patience: float
    exit_code: int | None
    fail_reason: str | None
    retry_count: int
    acquire: str | None
    release: str | None
    stop_reason: StopReason | None = None
    signalled: str | None = None
    stdout: OutputDoc | None = None
    stderr: OutputDoc | None = None

    @classmethod
    def of(cls, run: RunRecord, stdout: OutputDoc | None = None, stderr: OutputDoc | None = None) -> RunDoc:
        same = {name: getattr(run, name) for name in _SAME_OF_RUN}
        session = run.session.session_id
        return cls(**same, vm_id=run.vm.vm_id, session_id=session, stdout=stdout, stderr=stderr)

    def same(self) -> dict[str, Any]:
        """Return the members that a record has as they are."""
        return {name: getattr(self, name) for name in _SAME_OF_RUN}


_SAME_OF_RUN: Final = (
    *("run_id", "seq", "command", "timeout", "started_ms", "completed_ms", "state", "patience", "exit_code"),
    *("fail_reason", "retry_count", "acquire", "release", "stop_reason", "signalled"),
)


@frozen(kw_only=True)
class FilesystemDoc:
    """A filesystem."""

    filesystem_id: str
    seq: int
    org_id: str
    name: str
    created_ms: int
    region: str

    @classmethod
    def of(cls, filesystem: FilesystemRecord) -> FilesystemDoc:
        return cls(
            filesystem_id=filesystem.filesystem_id,
            seq=filesystem.seq,
            org_id=filesystem.org_id,
            name=filesystem.name,
            created_ms=filesystem.created_ms,
            region=filesystem.region,
        )


@frozen(kw_only=True)
class UploadDoc:
    """A file that is being uploaded, or has been: a repeated request finds its answer.

    Attributes:
        spool: The file in the spool that its bytes are in.
    """

    upload_id: str
    vm_id: str
    kind: Literal["chunks", "put"]
    path: str
    size: int
    spool: str
    created_ms: int
    ranges: list[tuple[int, int]]
    expected: str | None
    received: str | None
    written: bool

    @classmethod
    def of(cls, upload: Upload, vm_id: str) -> UploadDoc:
        return cls(
            vm_id=vm_id,
            upload_id=upload.upload_id,
            kind=upload.kind,
            path=upload.path,
            size=upload.size,
            spool=upload.spool.name,
            created_ms=upload.created_ms,
            ranges=upload.ranges,
            expected=upload.expected,
            received=upload.received,
            written=upload.written,
        )


@frozen(kw_only=True)
class KeyDoc:
    """An idempotency key.

    Attributes:
        scope: Organisation, method, path and key.
        digest: The request's fingerprint in hex.
        subject: What to name in a conflict.
        kind: What came of the request.
        value: The id of that; empty for an acknowledgement.
        since_ms: When it was used.
    """

    scope: tuple[str, str, str, str]
    digest: str
    subject: str
    kind: KeyKind
    value: str
    since_ms: int


@frozen(kw_only=True)
class WriteDoc:
    """A file that is being put into a VM: a VM that dies then may keep a part of it under a temporary name."""

    vm_id: str
    path: str


def encode(value: Any) -> str:
    """Return a record's text."""
    return json.dumps(_converter.unstructure(value), separators=(",", ":"))


def decode(text: str, shape: type[_T]) -> _T:
    """Return the record of a text. Raises `ValueError` when it is none of this shape."""
    try:
        return _converter.structure(json.loads(text), shape)
    except (BaseValidationError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no {shape.__name__}: {error}") from error


__all__ = [
    "FilesystemDoc",
    "KeyDoc",
    "KeyKind",
    "OutputDoc",
    "RunDoc",
    "SessionDoc",
    "SyncDoc",
    "UploadDoc",
    "VmDoc",
    "WriteDoc",
    "decode",
    "encode",
]
