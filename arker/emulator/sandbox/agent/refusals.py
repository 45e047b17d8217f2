"""Errors of the agent, as the codes that the server's side knows."""

from __future__ import annotations

import errno
import resource

CODES = {
    errno.ENOENT: "not_found",
    errno.ECONNREFUSED: "unavailable",
    errno.ENOSPC: "resource_pressure",
    errno.EDQUOT: "resource_pressure",
    errno.EMFILE: "resource_pressure",
    errno.ENFILE: "resource_pressure",
    errno.ENOMEM: "resource_pressure",
    errno.EAGAIN: "resource_pressure",
    errno.EIO: "internal",
}


class Refused(Exception):
    def __init__(self, code: str, message: str, number: int = 0) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.number = number
        """The system's error number, if it is about one."""

    def as_json(self) -> list[str]:
        reason = errno.errorcode.get(self.number)
        return [self.code, self.message] if reason is None else [self.code, self.message, reason]


def explain(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Refused("resource_pressure", f"the VM's agent has reached the limit of {limit} open files", errno.EMFILE)
    if isinstance(error, OSError):
        number = error.errno or 0
        return Refused(CODES.get(number, "bad_request"), error.strerror or str(error), number)
    return Refused("bad_request", str(error) or type(error).__name__)
