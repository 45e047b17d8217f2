"""The HTTP server of the embedded backend.

`service` runs it, `app` answers requests by the table in `routes`: an operation's handler is in the file of its subject
(`vms`, `runs`, `sessions`, `files`, `tunnels`, `filesystems`, `org_runs`). `backend` holds what they share, `records`
what they remember, `journal` what requests did; `openapi` describes it all. VMs' insides are behind
`arker.emulator.sandbox.base`.

`control` is for tests: faults (`fault_rules` says which fire, `faults` does what they say, `streams` what concerns
bodies on their way), and the journal that they read (`logs`).
"""
