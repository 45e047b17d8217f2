"""What VMs run on, and what they have of it: sizes, GPUs, platforms (contract-1, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from arker.models._reply import Reply, declared


@frozen(kw_only=True)
class VmResources(Reply):
    """A VM's resources. A server that does not report one of them leaves it out.

    Attributes:
        vcpu: Number of CPUs.
        memory_mib: Memory, in MiB.
        disk_mib: Disk, in MiB.
        gpu_sms: Streaming multiprocessors of each GPU; 0 if the VM was made without.
        gpu_vram_mib: Memory of each GPU, in MiB.
        gpu_count: Number of GPUs.
    """

    vcpu: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    gpu_sms: int | None = None
    gpu_vram_mib: int | None = None
    gpu_count: int | None = None


@frozen(kw_only=True)
class GpuResourceBand(Reply):
    """How much of something of a GPU a VM can have."""

    min: int
    max: int
    default: int


@frozen(kw_only=True)
class GpuPlatformLimits(Reply):
    """What VMs can have of the GPUs of a platform.

    Attributes:
        platform: The platform's id.
        gpu: The GPU's name.
        vram_mib: Its memory, in MiB.
        sms: Its streaming multiprocessors.
    """

    platform: str
    gpu: str | None = None
    vram_mib: GpuResourceBand | None = declared()
    sms: GpuResourceBand | None = declared()


@frozen(kw_only=True)
class CompatiblePlatform(Reply):
    """A platform that a template can be forked on; see ``platforms=`` of `AsyncArker.fork`. Sizes are per VM.

    Attributes:
        id: The platform's id.
        display_name: Its name for people.
        architecture: Its architecture.
        gpu: The limits of its GPUs, unchanged; None without GPUs.
    """

    id: str
    display_name: str | None = declared()
    architecture: str | None = declared()
    min_vcpus: int | None = None
    max_vcpus: int | None = None
    default_vcpus: int | None = None
    min_memory_mib: int | None = None
    max_memory_mib: int | None = None
    default_memory_mib: int | None = None
    min_disk_mib: int | None = None
    max_disk_mib: int | None = None
    default_disk_mib: int | None = None
    gpu: Mapping[str, Any] | None = None


__all__ = ["CompatiblePlatform", "GpuPlatformLimits", "GpuResourceBand", "VmResources"]
