"""The inside of the embedded backend's VMs: processes, files, network. It does not use HTTP."""
