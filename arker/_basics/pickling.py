"""Pickling of objects that cannot leave their process, and of errors that hold such objects."""

from __future__ import annotations

from typing import NoReturn


def refuse_to_be_pickled(self: object) -> NoReturn:
    """Refuse to pickle, as ``__reduce__`` of a client or of its handles.

    Raises:
        TypeError: Always; it says what to do instead.
    """
    raise TypeError(
        f"{type(self).__name__} objects cannot be pickled, since they hold connections and a key: "
        "let the other process make a client of its own"
    )


def as_pickled(value: object) -> object:
    """Return a value that can be pickled with an error: the value itself, or its representation."""
    import pickle  # few programs send errors to other processes

    try:
        pickle.dumps(value)
    except Exception:
        try:
            return repr(value)
        except Exception:
            return f"<{type(value).__name__}>"
    return value


__all__ = ["as_pickled", "refuse_to_be_pickled"]
