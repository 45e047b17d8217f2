"""The agent: the one process that the server talks to inside a VM.

The server does not run these modules: they are handed to a Python inside the VM (3.8 or newer, ``-I -S``), compiled,
in the order of `MODULES`. So they use nothing but the standard library, and of that only what is written in C and
imports nothing else: ``posix`` rather than ``os``, ``_socket`` rather than ``socket``. Everything else costs start-up
time and memory in every VM; a test says what may be loaded.

Requests come over an inherited stream socket: four bytes of length, then a JSON object, with descriptors beside them.
Each run gets a supervisor, forked from the agent, that is a child subreaper: whatever the command starts, setsid or
not, stays its descendant. A supervisor has its own socket to the server, and ends when that is closed.
"""

MODULES = ("refusals", "system", "processes", "filters", "walls", "signals", "supervisor", "files", "main")

__all__ = ["MODULES"]
