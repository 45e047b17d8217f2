"""The shell programs of the package, in files beside the modules that run them."""

from __future__ import annotations

from importlib.resources import files


def shell_program(package: str | None, name: str) -> str:
    """Read a shell program.

    Call it when a module is imported: later there may be no descriptor left to open a file.

    Args:
        package: The package that the file is in.
        name: The file's name.
    """
    assert package is not None  # `__package__` of a module that was imported
    return files(package).joinpath(name).read_text("utf-8")


__all__ = ["shell_program"]
