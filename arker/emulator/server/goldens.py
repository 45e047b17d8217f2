"""The public goldens (contract, sections 2 and 5). All that the emulator has are the same image."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

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


@frozen
class _Catalogue:
    by_name: dict[str, Golden] = field(factory=dict[str, Golden])

    def find(self, name: str) -> Golden | None:
        # ``arkuntu`` is recognised in any case of letters, like the burst reference that it is.
        return self.by_name.get(name) or (self.by_name["arkuntu"] if name.lower() == "arkuntu" else None)


def _catalogue(*goldens: Golden) -> _Catalogue:
    return _Catalogue({golden.name: golden for golden in goldens})


_GOLDENS = _catalogue(
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


def find_golden(name: str) -> Golden | None:
    """The golden of that name, whether the emulator has it or not."""
    return _GOLDENS.find(name)


def all_goldens() -> tuple[Golden, ...]:
    """The goldens that the emulator has."""
    return tuple(golden for golden in _GOLDENS.by_name.values() if golden.supported)


def require_supported(golden: Golden) -> Golden:
    if not golden.supported:
        raise ServiceError(
            "unsupported_operation", f"the embedded backend has no image {golden.name}; fork ubuntu instead"
        )
    return golden


__all__ = ["GOLDEN_ORG_ID", "Golden", "NetworkJson", "all_goldens", "find_golden", "require_supported"]
