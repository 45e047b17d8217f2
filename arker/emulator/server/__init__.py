"""The HTTP server of the embedded backend.

`service` runs it, `app` routes requests to the operations (`vms`, `runs`, `files`, `transfers`), `backend` holds what
they share, `records` what they remember. VMs' insides are behind `arker.emulator.sandbox.base`.
"""
