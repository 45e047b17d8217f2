"""What a fork is made from: a VM or a golden by its id or name, or an image."""

from __future__ import annotations

from attrs import frozen

from arker.emulator.server import parsing
from arker.emulator.server.backend import Backend, require_whole
from arker.emulator.server.errors import ServiceError, invalid, missing
from arker.emulator.server.goldens import GOLDEN_ORG_ID, Golden, find_golden, find_image, require_supported
from arker.emulator.server.records import Organisation, VmRecord


@frozen(kw_only=True)
class Source:
    """What a request names."""

    vm_id: str | None
    name: str | None
    image: str | None
    org: str | None


def parse(fields: parsing.Fields) -> Source:
    """Read which source a fork names."""
    if fields.raw("dockerfile") is not None:
        raise ServiceError("bad_request", "dockerfile: expected an image: clients build images from dockerfiles")
    vm_id, name, image = fields.text("source_vm_id"), fields.text("source_vm_name"), fields.text("image")
    if sum(value is not None for value in (vm_id, name, image)) != 1:
        among = ("source_vm_id", "source_vm_name", *(("image",) if fields.generation.new else ()))
        raise invalid(", ".join(among), "exactly one of them")
    org, org_name = fields.text("source_org_id"), fields.text("source_org_name")
    if org_name is not None and (org is not None or name is None):
        raise invalid("source_org_name", "only with source_vm_name, and without source_org_id")
    if org is not None and name is None and not fields.generation.old:
        raise invalid("source_org_id", "only with source_vm_name")
    return Source(vm_id=vm_id, name=name, image=image, org=org or org_name)


def find(backend: Backend, org: Organisation, source: Source) -> Golden | VmRecord:
    """Find the source of a fork. Another organisation's private VM is answered as if it did not exist."""
    if source.image is not None:
        return find_image(source.image)
    reference = (source.vm_id or source.name or "").strip()
    if source.org in {None, GOLDEN_ORG_ID}:
        golden = find_golden(reference)
        if golden is not None:
            return require_supported(golden)
    field = "source_vm_id" if source.vm_id is not None else "source_vm_name"
    owners = list(backend.organisations.values()) if source.vm_id is not None else [org]
    if source.org is not None:
        owners = [owner for owner in backend.organisations.values() if owner.org_id == source.org]
    for owner in owners:
        # An id finds any VM. A name finds one of the named organisation, or of the caller.
        by_name = owner is org or source.org is not None
        vm = owner.vms.get(reference) if source.vm_id is not None else None
        vm = vm or (owner.names.get(reference) if by_name else None)
        if vm is not None and (owner is org or vm.public):
            require_whole(vm)
            return vm
    raise missing("source", f"{field}: there is no VM {reference!r} to fork")


__all__ = ["Source", "find", "parse"]
