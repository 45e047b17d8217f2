"""``arker tunnel``: a port of a VM at a port of this machine."""

from __future__ import annotations

import asyncio

from arker import models
from arker._cli import output, proxy, statuses
from arker._cli.connection import Where, connected
from arker._cli.running import UsageError
from arker.config import insecure_hosts


async def tunnel(
    vm: str,
    port: int,
    /,
    *,
    local_port: int = 0,
    public: bool = False,
    where: Where = None,
) -> int:
    """Serve a port of a VM on this machine, HTTP and WebSockets, until Ctrl-C. The first line is its URL.

    The tunnel asks for a token, which is sent along with each request, so that only this machine gets through. It takes
    the place of a request's own Authorization header. The tunnel is deleted at the end.

    Args:
        vm: Id or name of the VM.
        port: Port of the VM.
        local_port: Port of this machine, on 127.0.0.1; 0 takes a free one.
        public: Let the tunnel ask for no token; requests then keep their own Authorization header.
        where: Where VMs are.
    """
    for name, value, lowest in (("PORT", port, 1), ("--local-port", local_port, 0)):
        if not lowest <= value <= 65535:
            raise UsageError(f"{name} {value}: expected a port from {lowest} to 65535")
    async with connected(where) as client:
        machine = await client.find_vm(vm)
        mode: models.AuthMode = "public" if public else "authenticated"
        async with machine.tunnel(port, auth_mode=mode) as opened:
            target = proxy.Target(opened.url, dict(opened.headers), machine.base_url, insecure_hosts())
            async with proxy.serving(target, local_port) as url:
                output.write(f"{url}\n")
                await asyncio.get_running_loop().create_future()
    return statuses.DONE


__all__ = ["tunnel"]
