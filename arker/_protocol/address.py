"""Where a VM is reached: on its own, because importing the client needs no more of the requests."""

from __future__ import annotations

from attrs import frozen


@frozen
class Address:
    """The address of a VM.

    Attributes:
        base_url: The base URL that its calls go to.
        vm_id: Its id, or its name.
    """

    base_url: str
    vm_id: str
