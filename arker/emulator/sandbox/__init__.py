"""What is inside a VM of the embedded backend: processes, files, network. It knows no HTTP."""
