"""Ways through every operation of generation 1, in raw requests: what it gives, and how it refuses."""

from __future__ import annotations

from tests.generations.walks import files, filesystems, pools, runs, service, sessions, vms
from tests.generations.walks.registry import WALKS, Walk

__all__ = ["WALKS", "Walk", "files", "filesystems", "pools", "runs", "service", "sessions", "vms"]
