"""VMs, what they consist of, and the requests that make and change them."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    BOOLEAN,
    COUNT,
    DELETED,
    FILLED,
    ID_PATTERN,
    MAYBE_BOOLEAN,
    MAYBE_COUNT,
    MAYBE_TEXT,
    TEXT,
    UUID,
    Schema,
    Schemas,
    closed,
    either,
    integer,
    mapping,
    one_of,
    opened,
    or_null,
    page,
    ref,
    some,
    text,
)

_SOURCES: Final = (
    {"source_vm_id"},
    {"source_vm_name"},
    {"source_vm_name", "source_org_id"},
    {"source_vm_name", "source_org_name"},
    {"image"},
    {"dockerfile"},
)
_NAMES_OF_SOURCES: Final = sorted(set[str]().union(*_SOURCES))
_NOT_BOTH_POOLS: Final[Schema] = {
    "required": ["pool_id", "pool_name"],
    "properties": {"pool_id": {"not": {"type": "null"}}},
}
_DESCRIPTION: Final = or_null(text(maxLength=1024))
_KEYS: Final = either(ref("SshKeysUpdate"), some(TEXT))
_PROVIDER: Final = or_null(ref("Provider"))


def _source(names: set[str]) -> Schema:
    """Return the schema of a fork that has these members, and none of the other sources unless it is null."""
    null: Schema = {"type": "null"}
    others = {name: null for name in _NAMES_OF_SOURCES if name not in names}
    return {"properties": {**others, **{name: {"not": null} for name in names}}, "required": sorted(names)}


VMS: Final[Schemas] = {
    "VmState": one_of("idle", "running"),
    "Provider": TEXT,
    "ForkRequest": closed(
        {
            "source_vm_id": MAYBE_TEXT,
            "source_vm_name": MAYBE_TEXT,
            "image": MAYBE_TEXT,
            "dockerfile": MAYBE_TEXT,
            "nestedvirt": MAYBE_BOOLEAN,
            "source_org_id": MAYBE_TEXT,
            "source_org_name": MAYBE_TEXT,
            "name": MAYBE_TEXT,
            "description": _DESCRIPTION,
            "public": MAYBE_BOOLEAN,
            "ssh_public_keys": _KEYS,
            "disk": MAYBE_BOOLEAN,
            "durable": MAYBE_BOOLEAN,
            "platforms": or_null(some(TEXT)),
            "layers": or_null(some(one_of("disk", "memory"), minItems=1)),
            "queueing_timeout": MAYBE_COUNT,
            "policies": or_null(ref("PolicyUpdate")),
            "resources": or_null(ref("ResourcesInput")),
            "registry_auth": ref("RegistryAuth"),
            "pool_id": UUID,
            "pool_name": FILLED,
            "command": FILLED,
        },
        oneOf=[_source(names) for names in _SOURCES],
        **{"not": _NOT_BOTH_POOLS},
    ),
    "PatchVmRequest": closed(
        {
            "description": _DESCRIPTION,
            "immutable": BOOLEAN,
            "resources": or_null(ref("ResourcesInput")),
            "ssh_public_keys": _KEYS,
            "policies": or_null(ref("PolicyUpdate")),
            "pool_id": or_null(UUID),
            "pool_name": FILLED,
        },
        **{"not": _NOT_BOTH_POOLS},
    ),
    "ResourcesInput": closed(
        {
            "vcpu": or_null(integer(1, 255)),
            "memory_mib": MAYBE_COUNT,
            "disk_mib": MAYBE_COUNT,
            "vgpu": or_null(ref("Vgpu")),
        }
    ),
    "Vgpu": one_of(0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 2, 4, 8),
    "RegistryAuth": closed({"username*": TEXT, "password*": TEXT}),
    "SshKeyInput": closed({"public_key*": TEXT, "name": text(maxLength=255), "expires_at": TEXT}),
    "SshKeysUpdate": mapping(or_null(ref("SshKeyInput")), ID_PATTERN),
    "Vm": closed(
        {
            "vm_id*": TEXT,
            "owner_org_id*": TEXT,
            "created_at*": TEXT,
            "name": MAYBE_TEXT,
            "description*": _DESCRIPTION,
            "hostname": MAYBE_TEXT,
            "public*": BOOLEAN,
            "immutable": BOOLEAN,
            "root_source_vm_id": MAYBE_TEXT,
            "root_source_vm_name": MAYBE_TEXT,
            "state*": ref("VmState"),
            "region": MAYBE_TEXT,
            "provider": _PROVIDER,
            "last_active_at": MAYBE_TEXT,
            "network*": ref("VmNetwork"),
            "policies": or_null(ref("VmPolicies")),
            "max_vcpus": or_null(integer(0, 255)),
            "min_vcpus": or_null(integer(0, 255)),
            "max_memory_mib": MAYBE_COUNT,
            "min_memory_mib": MAYBE_COUNT,
            "gpu_platforms": or_null(some(ref("GpuPlatformLimits"))),
            "min_disk_mib": MAYBE_COUNT,
            "max_disk_mib": MAYBE_COUNT,
            "sessions*": some(ref("Session")),
            "resources*": ref("VmResources"),
            "platform": MAYBE_TEXT,
            "compatible_platforms": or_null(some(ref("CompatiblePlatform"))),
            "pool_id": UUID,
        }
    ),
    "ListVmsResponse": page("vms", "Vm"),
    "DeleteVmResponse": DELETED,
    "VmResources": closed(
        {
            "vcpu": or_null(integer(0, 255)),
            "memory_mib": MAYBE_COUNT,
            "disk_mib": MAYBE_COUNT,
            "gpu_sms": MAYBE_COUNT,
            "gpu_vram_mib": MAYBE_COUNT,
            "gpu_count": MAYBE_COUNT,
        }
    ),
    "VmNetwork": closed({"ssh_public_keys": some(ref("SshPublicKeyInfo"))}),
    "SshPublicKeyInfo": closed(
        {"id*": TEXT, "public_key*": TEXT, "fingerprint*": TEXT, "name": TEXT, "expires_at": TEXT}
    ),
    "CompatiblePlatform": closed(
        {
            "id*": TEXT,
            "display_name*": TEXT,
            "architecture*": TEXT,
            "min_vcpus": COUNT,
            "max_vcpus": COUNT,
            "min_memory_mib": COUNT,
            "max_memory_mib": COUNT,
            "min_disk_mib": COUNT,
            "max_disk_mib": COUNT,
            "default_vcpus": COUNT,
            "default_memory_mib": COUNT,
            "default_disk_mib": COUNT,
            "gpu": ref("PlatformGpuLimits"),
        }
    ),
    "GpuResourceBand": opened({"min*": COUNT, "max*": COUNT, "default*": COUNT}),
    "GpuPlatformLimits": opened(
        {"platform*": TEXT, "gpu": MAYBE_TEXT, "vram_mib*": ref("GpuResourceBand"), "sms*": ref("GpuResourceBand")}
    ),
    "PlatformGpuLimits": closed(
        {"name": MAYBE_TEXT, "vram_mib*": ref("GpuResourceBand"), "sms*": ref("GpuResourceBand")}
    ),
}
