"""The API key in settings. Its value is never in an error."""

from __future__ import annotations

from typing import Final

from arker._basics.hidden import Hidden
from arker._config.environment import Environment, is_quoted
from arker.errors import ConfigurationError, InvalidArgumentError

VARIABLES: Final = ("ARKER_API_KEY", "AUTH_KEY")
"""The environment variables that may hold it; the first one that is set does."""


def variable_of(env: Environment) -> str | None:
    """Return the variable of the environment that holds the key; None if there is none."""
    return next((name for name in VARIABLES if env.get(name) is not None), None)


def api_key_of(given: object, env: Environment) -> str:
    """Return the key from an argument or else the environment."""
    argument = "api_key" if given is not None else variable_of(env) or "api_key"
    value = given if given is not None else env.get(*VARIABLES)
    if value is None:
        raise ConfigurationError(
            "an API key is required: pass api_key=, or set ARKER_API_KEY; "
            "the embedded backend, which .local() starts on this machine, needs none"
        )
    if not isinstance(value, str):
        raise InvalidArgumentError("api_key", "…", f"expected a string, got {type(value).__name__}")
    key = Hidden(value.strip())
    del value
    if not key:
        raise ConfigurationError("an API key is required: api_key is empty")
    if is_quoted(key):
        raise InvalidArgumentError(argument, "…", "expected the key without the quotation marks around it")
    if not all("!" <= char <= "~" for char in key):
        raise InvalidArgumentError(argument, "…", "expected visible ASCII characters only, and no space among them")
    return key


__all__ = ["VARIABLES", "api_key_of", "variable_of"]
