"""Filesystems, and their mounts in VMs."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    DELETED,
    FILLED,
    MAYBE_COUNT,
    MAYBE_TEXT,
    TEXT,
    Schemas,
    closed,
    one_of,
    or_null,
    page,
    ref,
)

FILESYSTEMS: Final[Schemas] = {
    "Filesystem": closed(
        {
            "filesystem_id*": TEXT,
            "name*": TEXT,
            "owner_org_id*": TEXT,
            "created_at*": TEXT,
            "size_bytes": MAYBE_COUNT,
            "region": MAYBE_TEXT,
            "provider": or_null(ref("Provider")),
        }
    ),
    "ListFilesystemsResponse": page("filesystems", "Filesystem"),
    "DeleteFilesystemResponse": DELETED,
    "FilesystemCreateRequest": closed({"name*": FILLED}),
    "Mount": closed(
        {
            "mount_id*": TEXT,
            "vm_id*": TEXT,
            "filesystem_id*": TEXT,
            "path*": TEXT,
            "region": MAYBE_TEXT,
            "state": one_of("attaching", "mounted", "failed", None),
            "state_detail": MAYBE_TEXT,
        }
    ),
    "ListMountsResponse": page("mounts", "Mount"),
    "DeleteMountResponse": DELETED,
    "MountCreateRequest": closed({"filesystem_id*": TEXT, "path": TEXT}),
}
