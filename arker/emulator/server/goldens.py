"""The public goldens (contract, sections 2 and 5). In the emulator, all of them are the same image."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from arker.emulator.server.errors import ServiceError

GOLDEN_ORG_ID: Final = "ArkerHQ"

NetworkJson = dict[str, object]


@frozen(kw_only=True)
class Golden:
    """A public image that VMs are forked from."""

    name: str
    provider: str = "aws"
    supported: bool = True
    network_type: str = "open"
    disk: bool = True
    vcpu_count: int = 2
    memory_mib: int = 4096
    disk_mib: int = 16384

    def network(self) -> NetworkJson:
        return {"type": self.network_type}


_ALL = (
    Golden(name="arkuntu", provider="aws-burst"),
    Golden(name="ubuntu"),
    Golden(name="ubuntu-small", vcpu_count=1, memory_mib=1024),
    Golden(name="ubuntu-nodisk", disk=False),
    Golden(name="ubuntu-nonet-nodisk", network_type="blocked", disk=False),
    Golden(name="ubuntu-full", vcpu_count=8, memory_mib=16384),
    Golden(name="ubuntu-full-32", vcpu_count=32, memory_mib=65536),
    Golden(name="ubuntu-py-repl", supported=False),
    Golden(name="ubuntu-js-repl", supported=False),
    Golden(name="ubuntu-docker", supported=False),
    Golden(name="ubuntu-chromium", supported=False),
    Golden(name="ubuntu-servo", supported=False),
    Golden(name="ubuntu-servo-js-repl", supported=False),
    Golden(name="ubuntu-chromium-js-repl", supported=False),
)


_BY_NAME: Final = {golden.name: golden for golden in _ALL}


def find_golden(name: str) -> Golden | None:
    """Find a golden by its name, whether the emulator has it or not."""
    # ``arkuntu`` is case-insensitive, like every burst reference.
    return _BY_NAME.get("arkuntu" if name.lower() == "arkuntu" else name)


def require_supported(golden: Golden) -> Golden:
    if not golden.supported:
        raise ServiceError(
            "unsupported_operation", f"the embedded backend has no image {golden.name}; fork ubuntu instead"
        )
    return golden


__all__ = ["GOLDEN_ORG_ID", "Golden", "NetworkJson", "find_golden", "require_supported"]
