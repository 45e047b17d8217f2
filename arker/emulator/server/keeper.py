"""What the operations tell of records that are made, changed and removed, for a server that keeps them.

A change is told before it is answered, and where it can be refused, before it has an effect. `Keeper` itself keeps
nothing, and all of it ends with the server; `arker.emulator.server.state.keeper` writes a state directory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from attrs import frozen

from arker.emulator.server.idempotency import Entry, Scope
from arker.emulator.server.records import FilesystemRecord, RunRecord, SessionRecord, Upload, VmRecord


@frozen
class Key:
    """An idempotency key that something was made under."""

    scope: Scope
    entry: Entry

    @classmethod
    def of(cls, scope: Scope | None, entry: Entry | None) -> Key | None:
        """Return the key of a request; None when it had none."""
        return None if scope is None or entry is None else cls(scope, entry)


class Keeper:
    """The keeper of a server whose records end with it: every method does nothing.

    Those of a keeper that keeps raise `ServiceError` (``capacity_unavailable``) where there is no room, unless they say
    otherwise; then nothing has been recorded.
    """

    lasting = False
    """Whether records outlive the server."""

    def add_vm(self, vm: VmRecord, key: Key | None, run: RunRecord | None = None) -> None:
        """Record a new VM with its sessions, the key that it was forked under, and the run that it begins with."""

    @contextlib.contextmanager
    def changing(self, vm: VmRecord) -> Generator[None]:
        """Record what this context changes of a VM itself. If that fails, the VM is as before."""
        yield

    def save_vm(self, vm: VmRecord) -> None:
        """Record a VM with its syncs as it is now."""

    def forget_vm(self, vm: VmRecord) -> None:
        """Record that a VM is deleted, before its files are."""

    def add_session(self, vm: VmRecord, session: SessionRecord) -> None:
        """Record a new session, and that its number is taken."""

    def forget_session(self, session: SessionRecord) -> None:
        """Record that a session is deleted."""

    def add_run(self, run: RunRecord, key: Key | None) -> None:
        """Record a run that is accepted, before it starts."""

    def start_run(self, run: RunRecord) -> None:
        """Record that a run which was waiting starts. Does not raise."""

    def stop_run(self, run: RunRecord) -> None:
        """Record that a run is to end, before it is killed or sent a signal. Does not raise."""

    def end_run(self, run: RunRecord) -> None:
        """Record a run's end, and the state of its session. Does not raise: what finds no room is recorded later."""

    def acknowledge(self, key: Key | None) -> None:
        """Record a key under which nothing was made."""

    def forget_key(self, scope: Scope, entry: Entry) -> None:
        """Forget a key that has expired. It need not be at once."""

    def add_filesystem(self, filesystem: FilesystemRecord) -> None:
        """Record a new filesystem."""

    def forget_filesystem(self, filesystem: FilesystemRecord) -> None:
        """Record that a filesystem is deleted, before its files are."""

    def save_upload(self, vm: VmRecord, upload: Upload) -> None:
        """Note an upload, for the next `flush`."""

    def forget_upload(self, vm: VmRecord, upload: Upload) -> None:
        """Note that an upload has gone, for the next `flush`."""

    def flush(self) -> None:
        """Record what is only noted."""

    @contextlib.contextmanager
    def writing(self, vm: VmRecord, path: str) -> Generator[None]:
        """Record, for as long as this context lasts, that a file is being put into a VM."""
        yield

    def close(self) -> None:
        """Record what is left to be recorded, and nothing from then on."""

    def forget_all(self) -> None:
        """Record that there is nothing any more."""


__all__ = ["Keeper", "Key"]
