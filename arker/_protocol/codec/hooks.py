"""Hooks for single JSON values, and preparations of some classes' objects before their fields are read. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeGuard, cast

import attrs

from arker._protocol.policies import network_of

Hook = Callable[[Any, Any], Any]

REQUIRED: Final = attrs.NOTHING
"""Stands for the default of a field that has none: null is an error there."""

_JSON_NAMES: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}


class Misfit(Exception):
    """A JSON value that does not fit its model.

    Attributes:
        problem: The fault, without the value, which may be a secret.
        path: The value's path from the root of the payload: ``$.vms[3].sessions[0].cwd``.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return whether a JSON value is an array."""
    return isinstance(value, list)


def json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    return _JSON_NAMES.get(type(value), type(value).__name__)


def mismatch(expected: str, value: object) -> Misfit:
    return Misfit(f"expected {expected}, got {json_type(value)}")


# --- hooks for the values of fields ----------------------------------------------------------------------------------


@attrs.frozen
class Plain:
    """What a hook of `exactly` accepts: a JSON type, and null for a default unless that is `REQUIRED`."""

    wanted: type[Any]
    default: object

    @property
    def keeps_default(self) -> bool:
        """Whether the hook would return its default for that default as well."""
        return self.default is None or self.default.__class__ is self.wanted


_plain: Final[dict[Hook, Plain]] = {}


def plain_of(hook: Hook) -> Plain | None:
    """Return what a hook accepts if `exactly` has made it."""
    return _plain.get(hook)


def exactly(wanted: type[Any], default: object) -> Hook:
    """Return a hook for exactly one JSON type. Null stands for the default where there is one."""
    hook = _exactly(wanted, default)
    _plain[hook] = Plain(wanted, default)
    return hook


def _exactly(wanted: type[Any], default: object) -> Hook:
    expected = _JSON_NAMES[wanted]
    if default is REQUIRED:

        def required(value: Any, _: Any) -> Any:
            if value.__class__ is wanted:
                return value
            raise mismatch(expected, value)

        return required

    def optional(value: Any, _: Any) -> Any:
        if value.__class__ is wanted:
            return value
        if value is None:
            return default
        raise mismatch(expected, value)

    return optional


def kept(value: Any, _: Any) -> Any:
    """Keep any value."""
    return value


def number(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is float or value.__class__ is int:
            return value
        if value is None and default is not REQUIRED:
            return default
        raise mismatch("a number", value)

    return hook


def string_map(default: object) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value is None and default is not REQUIRED:
            return default
        if not is_object(value):
            raise mismatch("an object", value)
        for key, item in value.items():
            if item.__class__ is not str:
                raise Misfit(f"expected a string, got {json_type(item)}", step(key))
        return value

    return hook


def nullable_hook(hook: Hook, default: object) -> Hook:
    if default is REQUIRED:
        return hook
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # in the stubs a function
        make = cast("Callable[[], object]", default.factory)  # type: ignore[attr-defined]

        def fresh(value: Any, type_: Any) -> Any:
            return make() if value is None else hook(value, type_)

        return fresh

    def nullable(value: Any, type_: Any) -> Any:
        return default if value is None else hook(value, type_)

    return nullable


# --- what a class needs done to its object before its fields are read ------------------------------------------------


def _decode(obj: dict[str, Any], field: str, encoding_field: str) -> bytes:
    """Decode a required text with its encoding."""
    text, encoding = obj.get(field), obj.get(encoding_field)
    if not isinstance(text, str):
        raise Misfit("is missing" if field not in obj else f"expected a string, got {json_type(text)}", f".{field}")
    if not isinstance(encoding, str):
        problem = "is missing" if encoding_field not in obj else f"expected a string, got {json_type(encoding)}"
        raise Misfit(problem, f".{encoding_field}")
    if encoding in ("utf-8", "utf8"):
        return _encoded(text)
    if encoding == "base64":
        try:
            return _strict_base64(text)
        except ValueError as error:
            raise Misfit(f"is not base64 ({error})", f".{field}") from None
    raise Misfit("expected the encoding utf-8, utf8 or base64", f".{encoding_field}")


def _decode_any(obj: dict[str, Any], field: str, encoding_field: str) -> bytes | None:
    """Decode a text whose encoding may be absent or spelt differently; None if there is no text."""
    text, encoding = obj.get(field), obj.get(encoding_field)
    if text is None:
        return None
    if not isinstance(text, str):
        raise Misfit(f"expected a string, got {json_type(text)}", f".{field}")
    if encoding == "utf-8":  # as nearly always
        return _encoded(text)
    spelling = encoding.strip().lower().replace("_", "-") if isinstance(encoding, str) else "utf-8"
    if spelling in ("utf-8", "utf8", ""):
        return _encoded(text)
    if spelling in ("base64", "base64url"):
        try:
            return _any_base64(text)
        except ValueError as error:
            raise Misfit(f"is not base64 ({error})", f".{field}") from None
    raise Misfit("expected the encoding utf-8, utf8 or base64", f".{encoding_field}")


def _encoded(text: str) -> bytes:
    """Encode a text. A text of a reply that was not UTF-8 gets its bytes back."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogatepass")


def _any_base64(text: str) -> bytes:
    """Decode base64 of either alphabet, padded or not, on one line or several."""
    try:
        return _strict_base64(text)
    except ValueError:
        plain = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
        return _strict_base64(plain + "=" * (-len(plain) % 4))


def _strict_base64(text: str) -> bytes:
    """Decode a base64 text without any other characters; lenient decoders skip those."""
    import pybase64  # loaded when something is decoded

    return pybase64.b64decode(text, validate=True)


def with_outputs(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        **obj,
        "stdout": _decode(obj, "stdout", "stdout_encoding"),
        "stderr": _decode(obj, "stderr", "stderr_encoding"),
    }


def with_outputs_that_are_there(obj: dict[str, Any]) -> dict[str, Any]:
    """Decode a run's outputs. They may be absent only while the run goes on; one of them may be null: it is empty."""
    out, err = obj.get("stdout"), obj.get("stderr")
    encodings = obj.get("stdout_encoding"), obj.get("stderr_encoding")
    if isinstance(out, str) and isinstance(err, str) and encodings == ("utf-8", "utf-8"):  # as nearly always
        try:
            return {**obj, "stdout": out.encode(), "stderr": err.encode()}
        except UnicodeEncodeError:
            pass
    stdout = _decode_any(obj, "stdout", "stdout_encoding")
    stderr = _decode_any(obj, "stderr", "stderr_encoding")
    if obj.get("state") not in _GOING_ON:
        for name in ("stdout", "stderr"):
            if name not in obj:
                raise Misfit("is missing", f".{name}")
        if stdout is None and stderr is None:
            raise Misfit("expected a string, got null", ".stdout")
    return {**obj, "stdout": stdout or b"", "stderr": stderr or b""}


def outputs_of(payload: object) -> tuple[bytes, bytes]:
    """Return the readable outputs of a run in a reply that does not fit."""
    found: list[bytes] = []
    for name in ("stdout", "stderr"):
        try:
            found.append((_decode_any(payload, name, f"{name}_encoding") if is_object(payload) else None) or b"")
        except Misfit:
            found.append(b"")
    return found[0], found[1]


_GOING_ON: Final = ("pending", "running")


def with_content(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "content": _decode(obj, "content", "encoding")}


def with_content_that_is_there(obj: dict[str, Any]) -> dict[str, Any]:
    content = _decode_any(obj, "content", "encoding")
    if content is None:
        raise Misfit("is missing" if "content" not in obj else "expected a string, got null", ".content")
    if not isinstance(obj.get("encoding"), str) and obj.get("size").__class__ is not int:
        # Only the size tells a text from base64, by which it is checked afterwards.
        raise Misfit("is missing, and no size tells what the content is", ".encoding")
    return {**obj, "content": content}


_RESOURCES: Final = (("vcpu_count", "vcpu"), ("memory_mib", "memory_mib"), ("disk_mib", "disk_mib"))


def with_vm_fields(obj: dict[str, Any]) -> dict[str, Any]:
    """Find a VM's id, sizes and network policy at the places that newer and older servers use."""
    resources: object = obj.get("resources")
    if obj.get("vm_id") is None and "id" in obj:
        obj = {**obj, "vm_id": obj["id"]}
    network: object = obj.get("network")
    if is_object(network) and ("ssh_public_keys" in network or (is_object(resources) and "type" not in network)):
        # In generation 1, the network is another kind of object; a server of both fills in both.
        keys = network.get("ssh_public_keys")
        rest = {name: value for name, value in network.items() if name != "ssh_public_keys"}
        obj = {
            **obj,
            "network": rest if "type" in network else network_of(obj.get("policies")),
            "ssh_public_keys": keys,
        }
    if is_object(resources):
        found = {name: resources[key] for name, key in _RESOURCES if key in resources and obj.get(name) is None}
        obj = {**obj, **found}
    return obj


def with_mount_fields(obj: dict[str, Any]) -> dict[str, Any]:
    """Find a mount's fields where generation 0.5, which calls it a sync, has them."""
    if obj.get("mount_id") is None and "sync_id" in obj:
        obj = {**obj, "mount_id": obj["sync_id"]}
    live: object = obj.get("live")
    if "state" not in obj and isinstance(live, bool):
        obj = {**obj, "state": "mounted" if live else "attaching", "state_detail": obj.get("live_error")}
    return obj


def with_sync_fields(obj: dict[str, Any]) -> dict[str, Any]:
    """Find a sync's fields where generation 1, which calls it a mount, has them."""
    if obj.get("sync_id") is None and "mount_id" in obj:
        obj = {**obj, "sync_id": obj["mount_id"]}
    state: object = obj.get("state")
    if "live" not in obj and isinstance(state, str):
        obj = {**obj, "live": state == "mounted", "live_error": obj.get("state_detail")}
    return obj


def with_mounts(obj: dict[str, Any]) -> dict[str, Any]:
    return obj if "mounts" in obj else {**obj, "mounts": obj.get("syncs")} if "syncs" in obj else obj


def with_syncs(obj: dict[str, Any]) -> dict[str, Any]:
    return obj if "syncs" in obj else {**obj, "syncs": obj.get("mounts")} if "mounts" in obj else obj


def step(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"
