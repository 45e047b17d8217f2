"""Requests to a server's control operations, without the client and its retries."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from arker.errors import EmulatorError

_TIMEOUT = 120.0  # seconds without a byte; the server has its own limits for what it waits for


def call(url: str, api_key: str, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Send one request and return the reply's object.

    Args:
        url: The server's base URL.
        api_key: Its own key.
        method: HTTP method.
        path: Path below the base URL's, such as ``/emulator/reset``.
        body: A JSON value; None for no body.

    Raises:
        EmulatorError: The server could not be reached, or refused.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_TIMEOUT)
    try:
        connection.request(
            method,
            place.path + path,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise EmulatorError(f"the embedded backend did not answer {method} {path}: {error!r}") from error
    finally:
        connection.close()
    try:
        reply: Any = json.loads(content)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise EmulatorError(f"the embedded backend gave no JSON object to {method} {path}, status {response.status}")
    answer: dict[str, Any] = reply  # pyright: ignore[reportUnknownVariableType] - JSON's keys are strings
    if response.status != 200:
        raise EmulatorError(f"the embedded backend refused {method} {path}: {answer.get('message')}")
    return answer


__all__ = ["call"]
