"""Streaming file transfers to and from a VM; `arker._vm_transfers` has the public calls (contract, section 6)."""
