"""The files of a VM, in the terms of `os` and `pathlib`."""
