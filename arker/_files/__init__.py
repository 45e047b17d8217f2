"""Files in and out of a VM, as streams; `arker._vm_transfers` has the public calls (contract, section 6)."""
