"""Opening a VM's outlet: a socket that listens in the VM's own network and is accepted on outside.

A socket belongs to the network in which it was made, whichever process holds it. So the agent makes the listener and
hands it out. It takes no part in the traffic.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

from arker.emulator.sandbox.base import Outlet, SandboxError
from arker.emulator.sandbox.host.link import AgentLink, LinkClosedError

HOST: Final = "127.0.0.1"
PORT: Final = 31280
"""Below the ports that systems assign automatically, and not registered."""

_BACKLOG: Final = 256

logger = logging.getLogger("arker.emulator")


async def open_outlet(link: AgentLink, outlet: Outlet, *, port: int = PORT) -> None:
    """Open the outlet's listener in a VM that has just been started, for as long as it runs. Where that is not
    possible, the VM has no way out, and the log says so.
    """
    try:
        reply = await link.request("listen", {"host": HOST, "port": port, "backlog": _BACKLOG})
    except LinkClosedError:
        return  # the caller who wanted the VM notices it
    except SandboxError as error:
        if error.code == "resource_pressure":
            raise
        logger.warning("a VM has no way out to the network: port %d in it: %s", port, error)
        return
    listener = _listener(reply.fds)
    if listener is None:
        logger.warning("a VM has no way out to the network: its agent handed out something else than a listener")
    elif link.closed:
        listener.close()
    else:
        outlet.open(listener)
        link.at_end(outlet.cut)


def _listener(fds: list[int]) -> socket.socket | None:
    """Return what the VM sent if it is a listening TCP socket; close anything else."""
    if len(fds) == 1:
        try:
            listener = socket.socket(fileno=fds[0])  # reads the family and type from the descriptor
        except OSError:
            pass
        else:
            is_tcp = listener.family == socket.AF_INET and listener.type == socket.SOCK_STREAM
            if is_tcp and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.setblocking(False)
                return listener
            listener.close()
            return None
    for fd in fds:
        os.close(fd)
    return None


__all__ = ["HOST", "PORT", "open_outlet"]
