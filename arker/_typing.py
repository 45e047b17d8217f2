"""`Self`, from where this version of Python has it: hints of public functions can be resolved at run time as well."""

import sys

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["Self"]
