"""The public goldens, and the images and platforms that the embedded backend has. All of them are one image."""

from __future__ import annotations

import os
import re
from typing import Final

from attrs import frozen

from arker.emulator.server.errors import unsupported

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


_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

_ALL: Final = (
    Golden(name="arkuntu", provider="aws-burst"),
    Golden(name="ubuntu"),
    Golden(name="ubuntu-small", vcpu_count=1, memory_mib=1024),
    Golden(name="ubuntu-nodisk", disk=False),
    Golden(name="ubuntu-nonet-nodisk", network_type="blocked", disk=False),
    Golden(name="ubuntu-full", vcpu_count=8, memory_mib=16384),
    Golden(name="ubuntu-full-32", vcpu_count=32, memory_mib=65536),
    Golden(name="ubuntu-base"),
    Golden(name="ubuntu-coding"),
    Golden(name="ubuntu-py-repl", supported=False),
    Golden(name="ubuntu-js-repl", supported=False),
    Golden(name="ubuntu-docker", supported=False),
    Golden(name="ubuntu-chromium", supported=False),
    Golden(name="ubuntu-servo", supported=False),
    Golden(name="ubuntu-servo-js-repl", supported=False),
    Golden(name="ubuntu-chromium-js-repl", supported=False),
    Golden(name="macos-full", supported=False),
)

PLATFORMS: Final = ("linux", f"linux-{_MACHINES.get(os.uname().machine, os.uname().machine)}")
"""The names of this machine's platform."""
_IMAGES: Final = ("ubuntu", "debian")
_IMAGE: Final = re.compile(r"(?:(?:index\.)?docker\.io/)?(?:library/)?(?P<name>[a-z0-9]+)(?::[\w.-]{1,128})?")


_BY_NAME: Final = {golden.name: golden for golden in _ALL}


CATALOGUE: Final = tuple(golden for golden in _ALL if golden.supported)
"""What can be forked, in a list of public VMs."""


def find_image(reference: str) -> Golden:
    """Return what a reference to an image stands for: a VM of the machine's own programs; 422 for other images."""
    match = _IMAGE.fullmatch(reference)
    if match is None or match["name"] not in _IMAGES:
        raise unsupported(
            f"image: the embedded backend pulls no images: {' and '.join(_IMAGES)} stand for this machine's programs"
        )
    return _BY_NAME["ubuntu"]


def find_golden(name: str) -> Golden | None:
    """Find a golden by its name, whether the emulator has it or not."""
    # ``arkuntu`` is case-insensitive, like every burst reference.
    return _BY_NAME.get("arkuntu" if name.lower() == "arkuntu" else name)


def require_supported(golden: Golden) -> Golden:
    if not golden.supported:
        raise unsupported(f"the embedded backend has no image {golden.name}; fork ubuntu instead")
    return golden


__all__ = [
    "CATALOGUE",
    "GOLDEN_ORG_ID",
    "PLATFORMS",
    "Golden",
    "NetworkJson",
    "find_golden",
    "find_image",
    "require_supported",
]
