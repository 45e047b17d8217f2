"""Programs end, and clients work, whatever a library has made of the program's event loops."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

OUTPUTS = {
    "async": ["own", "run", "1", "300000", "['a', 'b']"],
    "not_closed": ["run"],
    "blocking": ["own", "['a', 'b']", "1"],
    "mixed": ["inside of a loop"],
}


@pytest.mark.parametrize("client", OUTPUTS)
@pytest.mark.parametrize("change", ["nest_asyncio", "uvloop", "nothing"])
def test_programs_end(run_program: Callable[..., list[str]], change: str, client: str) -> None:
    if change == "uvloop" and sys.platform == "win32":
        pytest.skip("uvloop is not for Windows")
    nested = ["own"] if (change, client) == ("nest_asyncio", "async") else []
    new = change == "nest_asyncio" or client == "not_closed"  # that one is closed as the program ends
    said = run_program("loops", change, client, new=new)
    assert said == [*OUTPUTS[client], *nested, "the main program ends here"]
