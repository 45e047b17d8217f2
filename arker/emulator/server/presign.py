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


class Seal:
    """The signer and verifier of small lists of values, for one purpose."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        self._secret = hashlib.sha256(purpose + secret).digest()

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256").hex().encode()

    def sign(self, fields: list[Any]) -> tuple[str, str]:
        """Return the values as a token, and its signature. Both fit into a query as they are."""
        payload = orjson.dumps(fields)
        return pybase64.urlsafe_b64encode(payload).decode().rstrip("="), self._sign(payload).decode()

    def verify(self, token: str, signature: str) -> list[Any] | None:
        """Return the values of a token; None if the signature is not this one's."""
        try:
            payload = pybase64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except ValueError:
            payload = b""
        if not hmac.compare_digest(self._sign(payload), signature.encode("utf-8", "replace")):
            return None
        fields: list[Any] = orjson.loads(payload)
        return fields


class Presigner:
    """The signer and verifier of presigned URLs."""

    def __init__(self, secret: bytes, clock: Clock, ttl: float) -> None:
        self._seal = Seal(secret, b"presigned")
        self._clock = clock
        self._ttl = ttl

    @property
    def expires_in(self) -> float:
        """The lifetime of a new URL in seconds."""
        return int(self._ttl) if self._ttl == int(self._ttl) else self._ttl

    def url(self, origin: str, grant: Grant) -> str:
        expires = self._clock.now_ms() + round(self._ttl * 1000)
        fields = [grant.method, grant.vm_id, grant.path, grant.size, grant.upload_id, expires]
        token, signature = self._seal.sign(fields)
        return f"{origin}{PREFIX}/{grant.vm_id}?grant={token}&signature={signature}"

    def check(self, method: str, vm_id: str, token: str, signature: str) -> Grant:
        """Check a URL and return its grant; 403 when it was tampered with, has expired, or is for something else."""
        fields = self._seal.verify(token, signature)
        if fields is None:
            raise ServiceError("forbidden", "the signature of this presigned URL does not match")
        grant = Grant(method=fields[0], vm_id=fields[1], path=fields[2], size=fields[3], upload_id=fields[4])
        if grant.method != method or grant.vm_id != vm_id:
            raise ServiceError("forbidden", f"this presigned URL is for {grant.method} of another object")
        if self._clock.now_ms() >= fields[5]:
            raise expired()
        return grant


__all__ = ["PREFIX", "Grant", "Presigner", "Seal", "expired"]
