"""Presigned URLs: what may be done, to which file and until when, signed with HMAC (contract, section 6)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final, Literal

import orjson
import pybase64
from attrs import frozen

from arker.emulator.control.clock import Clock
from arker.emulator.server.errors import ServiceError

PREFIX: Final = "/presigned"


def expired() -> ServiceError:
    """Return the error for an expired URL."""
    return ServiceError("forbidden", "this presigned URL has expired")


@frozen(kw_only=True)
class Grant:
    """The permission in a URL: one method on one file of one VM."""

    method: Literal["GET", "PUT"]
    vm_id: str
    path: str
    size: int
    upload_id: str = ""


class Presigner:
    """The signer and verifier of presigned URLs."""

    def __init__(self, secret: bytes, clock: Clock, ttl: float) -> None:
        self._secret = hashlib.sha256(b"presigned" + secret).digest()
        self._clock = clock
        self._ttl = ttl

    @property
    def expires_in(self) -> float:
        """The lifetime of a new URL in seconds."""
        return int(self._ttl) if self._ttl == int(self._ttl) else self._ttl

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256")

    def url(self, origin: str, grant: Grant) -> str:
        expires = self._clock.now_ms() + round(self._ttl * 1000)
        payload = orjson.dumps([grant.method, grant.vm_id, grant.path, grant.size, grant.upload_id, expires])
        token = pybase64.urlsafe_b64encode(payload).decode().rstrip("=")
        signature = self._sign(payload).hex()
        return f"{origin}{PREFIX}/{grant.vm_id}?grant={token}&signature={signature}"

    def check(self, method: str, vm_id: str, token: str, signature: str) -> Grant:
        """Check a URL and return its grant; 403 when it was tampered with, has expired, or is for something else."""
        try:
            payload = pybase64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except ValueError:
            payload = b""
        if not hmac.compare_digest(self._sign(payload).hex().encode(), signature.encode("utf-8", "replace")):
            raise ServiceError("forbidden", "the signature of this presigned URL does not match")
        fields: list[Any] = orjson.loads(payload)
        grant = Grant(method=fields[0], vm_id=fields[1], path=fields[2], size=fields[3], upload_id=fields[4])
        if grant.method != method or grant.vm_id != vm_id:
            raise ServiceError("forbidden", f"this presigned URL is for {grant.method} of another object")
        if self._clock.now_ms() >= fields[5]:
            raise expired()
        return grant


__all__ = ["PREFIX", "Grant", "Presigner", "expired"]
