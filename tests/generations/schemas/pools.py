"""Pools and API keys, as clients meet them; workers of pools speak to the service in other requests, left out here."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    COUNT,
    MAYBE_TEXT,
    NULL,
    TEXT,
    TIME,
    UUID,
    Schemas,
    closed,
    either,
    one_of,
    or_null,
    ref,
    some,
    text,
)

_NAME: Final = text(minLength=1, maxLength=64)
_MAYBE_UUID: Final = or_null(UUID)
_ACCOUNT: Final = text(pattern="^[0-9]{12}$")
_SIZES: Final = {"vcpu*": COUNT, "memory_mib*": COUNT, "disk_mib*": COUNT}
_ISOLATION: Final = some(ref("PoolIsolation"), uniqueItems=True)
_RESOURCES: Final = {
    "resources*": ref("PoolResources"),
    "resources_reserved*": ref("PoolResources"),
    "resources_provisioned*": ref("PoolResources"),
}
_POOL: Final = {
    "pool_id*": UUID,
    "name*": ref("PoolName"),
    "region*": TEXT,
    "state*": ref("PoolState"),
    "reason*": MAYBE_TEXT,
    "created_at*": TIME,
}
_PLATFORM: Final = {"platform*": ref("PoolPlatform")}
_KEY: Final = {
    "api_key_id*": TEXT,
    "role*": one_of("admin", "developer", "member", "viewer"),
    "scopes*": some(ref("ApiKeyScope")),
    "vm_id*": MAYBE_TEXT,
    "pool_id*": _MAYBE_UUID,
    "action*": NULL,
    "created_at*": TIME,
}

POOLS: Final[Schemas] = {
    "PoolResources": closed(_SIZES),
    "PoolCommitment": closed({"starts_at*": TIME, "ends_at*": TIME}),
    "PoolState": one_of("creating", "running", "deleting"),
    "PoolIsolation": one_of("vms"),
    "PoolPlatform": text(pattern="^[a-z0-9][a-z0-9_-]{0,31}$"),
    "PoolName": or_null(text(maxLength=64)),
    "ByocProvider": one_of("aws"),
    "PoolByoc": closed(
        {
            "account_id*": _ACCOUNT,
            "subnet_ids*": some(TEXT, minItems=1),
            "security_group_ids*": some(TEXT),
            "instance_types*": some(TEXT, minItems=1),
            "role_name*": TEXT,
            "external_id*": TEXT,
            "setup_url*": TEXT,
        }
    ),
    "CreatePoolByoc": closed(
        {
            "account_id*": _ACCOUNT,
            "subnet_ids*": some(TEXT, minItems=1),
            "security_group_ids": some(TEXT),
            "instance_types": some(TEXT, minItems=1),
        }
    ),
    "ManagedPool": closed(
        {
            **_POOL,
            **_PLATFORM,
            **_RESOURCES,
            "type*": one_of("managed"),
            "provider*": ref("Provider"),
            "commitments*": some(ref("PoolCommitment")),
        }
    ),
    "ByocPool": closed(
        {
            **_POOL,
            **_PLATFORM,
            **_RESOURCES,
            "type*": one_of("byoc"),
            "provider*": ref("ByocProvider"),
            "isolation*": _ISOLATION,
            "byoc*": ref("PoolByoc"),
        }
    ),
    "SelfHostedPool": closed(
        {
            **_POOL,
            "type*": one_of("self_hosted"),
            "platform*": or_null(ref("PoolPlatform")),
            "resources": ref("PoolResources"),
            "resources_reserved*": ref("PoolResources"),
            "resources_provisioned*": ref("PoolResources"),
        }
    ),
    "Pool": either(ref("ManagedPool"), ref("ByocPool"), ref("SelfHostedPool")),
    "ListPoolsResponse": closed({"pools*": some(ref("Pool")), "next_cursor*": MAYBE_TEXT}),
    "CreateManagedPoolRequest": closed(
        {
            "type*": one_of("managed"),
            "name": _NAME,
            **_PLATFORM,
            "resources*": ref("PoolResources"),
            "commitments": some(ref("PoolCommitment")),
        }
    ),
    "CreateByocPoolRequest": closed(
        {
            "type*": one_of("byoc"),
            "name": _NAME,
            "provider*": ref("ByocProvider"),
            **_PLATFORM,
            "resources*": ref("PoolResources"),
            "isolation": _ISOLATION,
            "byoc*": ref("CreatePoolByoc"),
        }
    ),
    "CreateSelfHostedPoolRequest": closed(
        {"type*": one_of("self_hosted"), "name": _NAME, "resources": ref("PoolResources")}
    ),
    "CreatePoolRequest": either(
        ref("CreateManagedPoolRequest"), ref("CreateByocPoolRequest"), ref("CreateSelfHostedPoolRequest")
    ),
    "UpdatePoolRequest": closed(
        {"name": or_null(_NAME), "resources": ref("PoolResources"), "commitments": some(ref("PoolCommitment"))}
    ),
    "WorkerState": one_of("creating", "running", "draining", "unreachable", "left"),
    "Worker": closed(
        {
            "worker_id*": TEXT,
            "state*": ref("WorkerState"),
            "resources_provisioned*": ref("PoolResources"),
            "resources_reserved*": ref("PoolResources"),
            "last_seen_at*": TIME,
        }
    ),
    "ListPoolWorkersResponse": closed({"workers*": some(ref("Worker"))}),
    "ApiKeyScope": either(ref("ApiKeyVmScope"), ref("ApiKeyPoolScope")),
    "ApiKeyVmScope": closed({"vm_id*": text(minLength=1, maxLength=64)}),
    "ApiKeyPoolScope": closed({"pool_id*": UUID}),
    "ApiKey": closed(_KEY),
    "CreatedApiKey": closed({**_KEY, "key*": TEXT}),
    "CreateApiKeyRequest": closed(
        {"name": text(minLength=1, maxLength=255), "scopes": some(ref("ApiKeyScope"), maxItems=16)}
    ),
    "ListApiKeysResponse": closed({"api_keys*": some(ref("ApiKey"))}),
}
