"""Calls on VMs: fork, read, list, resize and delete them (contract, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import define, evolve, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import acknowledging, into
from arker._protocol.codec import codec
from arker._protocol.codec.hooks import Misfit
from arker._protocol.forms import lack_of, unsupported, with_resources
from arker._protocol.policies import policies_of
from arker._protocol.queries import PageQuery, checked, choice, text
from arker._protocol.reader import Reader, id_in, is_usable_id, salvaged_vm_id
from arker._protocol.request import Call, Lack, Request
from arker.errors import InvalidArgumentError
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker.models import (
        DeleteVmResponse,
        ForkRequest,
        ListVmsResponse,
        PatchVmRequest,
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
    org_id: str | None = text()
    public: bool | None = checked(check.check_boolean)
    platform: str | None = text()
    created_after: str | None = text()
    created_before: str | None = text()
    pool_id: str | None = text()


_CREATED: Final = "filter by created_after= and created_before="
_STARTED: Final = "filter by started_after= and started_before=, or the page that you get"
_EARLIER_FILTERS: Final = {
    "source_org_id": "filter the page that you get by root_source_vm_id",
    "started_after": _CREATED,
    "started_before": _CREATED,
}
_TODAYS_FILTERS: Final = {
    "org_id": "only the VMs of the key's organisation are listed",
    "public": "filter the page that you get by its public",
    "platform": "its VMs have no platform",
    "created_after": _STARTED,
    "created_before": _STARTED,
    "pool_id": "there are no pools",
}


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
    reply = _ForkReply(found)
    written = _written(request)
    secrets, lack, differing = written.secrets, written.lack, written.differing

    def post(body: bytes) -> Request:
        return Request("POST", base_url, routes.FORK, body=body, idempotency_key=key, private=bool(secrets))

    call = Call(
        "fork",
        post(written.body),
        reply.decode,
        evidence=VM_IDS,
        makes_vm=True,
        salvage=reply.salvage,
        lack=lack,
        secrets=secrets,
    )
    if lack is None and not differing:
        return call
    if lack is not None and lack.generation == "1":
        return evolve(call, lack=evolve(lack, members=tuple({*lack.members, *differing})))
    body = _fork_of_today(request)
    today = evolve(call, request=post(codec.dumps_plain(body)), earlier=None if lack is not None else call)
    if request.queueing_timeout is None:
        return today

    def remade(left: int) -> Request:
        return post(codec.dumps_plain({**body, "queueing_timeout": left}))

    return evolve(today, patience=float(request.queueing_timeout), remade=remade)


class _ForkReply:
    """The reader of a fork's reply, which tells the VM's id before it reads the rest."""

    __slots__ = ("_found",)

    def __init__(self, found: Callable[[str], None]) -> None:
        self._found = found

    def decode(self, payload: dict[str, Any], reader: Reader) -> Vm:
        vm_id = id_in(payload, VM_IDS)
        if vm_id is not None:
            self._found(vm_id)
        return _vm_of(payload, reader)

    def salvage(self, body: bytes) -> Vm | None:
        vm_id = salvaged_vm_id(body)
        if vm_id is None:
            return None
        self._found(vm_id)
        return models.Vm(vm_id=vm_id)


@define
class _Written:
    """A fork's request with all that depends on nothing else.

    Attributes:
        request: The request.
        body: Its JSON text in the form of generation 0.5.
        secrets: What it holds that no log and no error may show.
        lack: What one of the generations lacks of it.
        differing: Its fields that the generations write differently.
    """

    request: ForkRequest
    body: bytes
    secrets: tuple[str, ...]
    lack: Lack | None
    differing: tuple[str, ...]

    latest: ClassVar[_Written | None] = None
    """The last one without secrets."""


def _written(request: ForkRequest) -> _Written:
    latest = _Written.latest
    if latest is not None and latest.request is request:
        return latest  # hundreds of VMs at once are mostly forked with one request
    differing = tuple(name for name in _DIFFERING if getattr(request, name) is not None)
    written = _Written(request, codec.dumps(request), _secrets_of(request), _lack_of_fork(request), differing)
    if not written.secrets:
        _Written.latest = written
    return written


_DIFFERING: Final = ("vcpu_count", "memory_mib", "disk_mib", "network")
_EARLIER_OF_FORK: Final = {
    "max_memory_mib": "memory_mib= sets the memory, and resize() changes it",
    "tunnel": "a port is reached at the VM's hostname, see AsyncVM.hostname",
}
_NO_IMAGES: Final = "fork one of the public goldens"
_TODAYS_OF_FORK: Final = {
    "image": _NO_IMAGES,
    "description": "name= names the VM",
    "queueing_timeout": "repeat the fork after a ResourcePressureError or UnavailableError",
    "layers": "a fork always copies the files and no process",
    "command": "start it with vm.start() after the fork",
    "platforms": "the service chooses where the VM runs",
    "source_org_name": "source_org_id= names the organisation",
    "registry_auth": _NO_IMAGES,
    "nestedvirt": _NO_IMAGES,
    "policies": "network= says which hosts the VM may reach",
    "ssh_public_keys": "a tunnel leads to a port of the VM",
    "vgpu": "its VMs have no GPUs",
    "pool_id": "there are no pools",
    "pool_name": "there are no pools",
}


def _lack_of_fork(request: ForkRequest) -> Lack | None:
    lack = lack_of("fork", request, _EARLIER_OF_FORK, _TODAYS_OF_FORK)
    if lack is not None and lack.generation == "1":
        return lack
    problem = None
    if request.network is not None and policies_of(request.network) is None:
        problem = Lack("1", "such network=", "use True, False, or a list of host names and addresses without ports")
    elif request.source_org_id is not None and request.source_vm_name is None:
        problem = Lack("1", "source_org_id= beside an id", "leave it out, since the id alone names the VM")
    if problem is None:
        return lack
    problem = evolve(problem, members=("network",) if request.network is not None else ("source_org_id",))
    if lack is not None:
        raise unsupported(problem, "fork")
    return problem


def _fork_of_today(request: ForkRequest) -> dict[str, Any]:
    body = with_resources(codec.unstructure(request))
    if request.network is not None:
        del body["network"]
        body["policies"] = policies_of(request.network)
    return body


def _secrets_of(request: ForkRequest | PatchVmRequest) -> tuple[str, ...]:
    """Return what a request holds that no log and no error may show."""
    hidden = () if request.policies is None else request.policies.hidden()
    auth = getattr(request, "registry_auth", None)
    return hidden if auth is None else (*hidden, auth.password)


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
        lack=lack_of("list_vms", query, _EARLIER_FILTERS, _TODAYS_FILTERS),
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
    body = codec.unstructure(request)
    earlier = Call(
        "vm.resize",
        Request("POST", at.base_url, routes.resize(at.vm_id), body=codec.dumps_plain(body)),
        acknowledging(models.ResizeResponse, "resized"),
        evidence=("resized", "vm_id"),
        acknowledged=True,
        vm_id=at.vm_id,
    )
    return evolve(
        earlier,
        request=Request("PATCH", at.base_url, routes.vm(at.vm_id), body=codec.dumps_plain(with_resources(body))),
        decode=_resized,
        earlier=earlier,
    )


def _resized(payload: dict[str, Any], reader: Reader) -> ResizeResponse:
    # The reply is the whole VM.
    return models.ResizeResponse()


def update(at: Address, request: PatchVmRequest) -> Call[Vm]:
    body = with_resources(codec.unstructure(request))
    if request.description == "":
        body["description"] = None  # clears it
    if request.network is not None:
        del body["network"]
        body["policies"] = policies_of(request.network)
        if body["policies"] is None:
            expected = "expected True, False, or a policy of host names and addresses without ports"
            raise InvalidArgumentError("network", request.network, expected)
    return Call(
        "vm.update",
        Request("PATCH", at.base_url, routes.vm(at.vm_id), body=codec.dumps_plain(body)),
        _vm_of,
        evidence=VM_IDS,
        vm_id=at.vm_id,
        lack=Lack(
            "0.5",
            "updates of VMs",
            "resize() changes a VM's size, and the rest is set when it is forked",
            tuple(body),
        ),
        secrets=_secrets_of(request),
    )


__all__ = [
    "Forked",
    "VM_IDS",
    "VmsQuery",
    "delete_vm",
    "fork",
    "fork_again",
    "get_vm",
    "list_vms",
    "resize",
    "update",
]
