"""Calls on VMs: fork, read, list, resize and delete them (contract, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from arker import models
from arker._protocol import routes
from arker._protocol.calls.shared import acknowledging, into
from arker._protocol.codec import codec
from arker._protocol.codec.hooks import Misfit
from arker._protocol.queries import PageQuery, choice, text
from arker._protocol.reader import Reader, id_in, is_usable_id, salvaged_vm_id
from arker._protocol.request import Address, Call, Request

if TYPE_CHECKING:
    from arker.models import (
        DeleteVmResponse,
        ForkRequest,
        ListVmsResponse,
        ResizeRequest,
        ResizeResponse,
        Vm,
    )


@frozen(kw_only=True)
class VmsQuery(PageQuery):
    """The query of VMs."""

    region: str | None = text()
    provider: str | None = text()
    state: str | Sequence[str] | None = choice()
    source_org_id: str | None = text()
    started_after: str | None = text()
    started_before: str | None = text()


@frozen
class Forked:
    """The reply to a repeated fork, as far as it is read: the VM's id, and its creation time, if given."""

    vm_id: str
    created_at: str | None


@cache
def _deleted() -> DeleteVmResponse:
    return models.DeleteVmResponse(deleted=True)


VM_IDS: Final = ("vm_id", "id")


def fork(base_url: str, request: ForkRequest, key: str, found: Callable[[str], None]) -> Call[Vm]:
    """Fork a VM.

    Args:
        base_url: The base URL to post to.
        request: The fork request.
        key: The idempotency key.
        found: Called with the VM's id as soon as it is known, before the rest of the reply is read.
    """

    def decode(payload: dict[str, Any], reader: Reader) -> Vm:
        vm_id = id_in(payload, VM_IDS)
        if vm_id is not None:
            found(vm_id)
        return _vm_of(payload, reader)

    def salvage(body: bytes) -> Vm | None:
        vm_id = salvaged_vm_id(body)
        if vm_id is None:
            return None
        found(vm_id)
        return models.Vm(vm_id=vm_id)

    request_ = Request("POST", base_url, routes.FORK, body=codec.dumps(request), idempotency_key=key)
    return Call("fork", request_, decode, evidence=VM_IDS, makes_vm=True, salvage=salvage)


def fork_again(base_url: str, body: bytes, key: str) -> Call[Forked]:
    """Post a fork again that may have been posted before. Only its id is read."""
    request = Request("POST", base_url, routes.FORK, body=body, idempotency_key=key)

    def decode(payload: dict[str, Any], _: Reader) -> Forked:
        vm_id, created_at = id_in(payload, VM_IDS), payload.get("created_at")
        if vm_id is None:
            raise Misfit("is missing, or none that paths can be made of", "$.vm_id")
        return Forked(vm_id, created_at if isinstance(created_at, str) else None)

    def salvage(reply: bytes) -> Forked | None:
        vm_id = salvaged_vm_id(reply)
        return None if vm_id is None else Forked(vm_id, None)

    return Call("reap", request, decode, evidence=VM_IDS, makes_vm=True, salvage=salvage)


def get_vm(at: Address) -> Call[Vm]:
    return Call("get_vm", Request("GET", at.base_url, routes.vm(at.vm_id)), _vm_of, evidence=VM_IDS, vm_id=at.vm_id)


def _vm_of(payload: dict[str, Any], reader: Reader) -> Vm:
    """Decode a VM for a handle. Its id must be usable in paths."""
    vm = reader.structure(payload, models.Vm)
    if not is_usable_id(vm.vm_id):
        raise Misfit(f"expected an id, got {vm.vm_id!r}", "$.vm_id")
    return vm


def list_vms(control_base_url: str, query: VmsQuery) -> Call[ListVmsResponse]:
    return Call(
        "list_vms",
        Request("GET", control_base_url, routes.VMS, query.encoded()),
        into(models.ListVmsResponse),
        evidence=("vms",),
    )


def delete_vm(at: Address) -> Call[DeleteVmResponse]:
    return Call(
        "vm.delete",
        Request("DELETE", at.base_url, routes.vm(at.vm_id)),
        acknowledging(models.DeleteVmResponse, "deleted"),
        gone=_deleted(),
        needs_proof=True,
        evidence=("deleted",),
        acknowledged=True,
        vm_id=at.vm_id,
    )


def resize(at: Address, request: ResizeRequest) -> Call[ResizeResponse]:
    return Call(
        "vm.resize",
        Request("POST", at.base_url, routes.resize(at.vm_id), body=codec.dumps(request)),
        acknowledging(models.ResizeResponse, "resized"),
        evidence=("resized", "vm_id"),
        acknowledged=True,
        vm_id=at.vm_id,
    )


__all__ = ["Forked", "VM_IDS", "VmsQuery", "delete_vm", "fork", "fork_again", "get_vm", "list_vms", "resize"]
