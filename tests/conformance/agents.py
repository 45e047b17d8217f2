"""What the suites of the OpenAI Agents SDK share: a client, a session, and a model that does as it was told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import ModelResponse, Usage
from agents.models.interface import Model
from agents.sandbox.entries import Dir, File
from agents.sandbox.manifest import Environment, Manifest
from agents.sandbox.session import SandboxSession
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from arker import AsyncArker
from arker.integrations.openai_agents import ArkerSandboxClient

MANIFEST = Manifest(
    entries={
        "a.txt": File(content=b"a\n"),
        "sub": Dir(children={"b.txt": File(content=b"b\n")}),
        "passing.txt": File(content=b"passing\n", ephemeral=True),
    },
    environment=Environment(value={"GREETING": "hello, it's"}),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def client(arker: AsyncArker) -> ArkerSandboxClient:
    return ArkerSandboxClient(arker)


@pytest.fixture
async def session(client: ArkerSandboxClient, anyio_backend: str) -> AsyncIterator[SandboxSession]:
    async with await client.create(manifest=MANIFEST) as session:
        yield session


class ScriptedModel(Model):
    """A model that calls tools, and then says what they have said. A call is made of the output before it."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        outputs = [
            str(each["output"])
            for each in (input if isinstance(input, list) else [])
            if isinstance(each, dict) and each.get("type") == "function_call_output"
        ]
        item: ResponseFunctionToolCall | ResponseOutputMessage
        if len(outputs) < len(self.steps):
            step = self.steps[len(outputs)]
            name, arguments = step(outputs[-1]) if callable(step) else step
            item = ResponseFunctionToolCall(
                arguments=json.dumps(arguments), call_id=str(len(outputs)), name=name, type="function_call", id="f"
            )
        else:
            text = ResponseOutputText(annotations=[], text="\n".join(outputs), type="output_text")
            item = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


__all__ = ["MANIFEST", "ScriptedModel", "anyio_backend", "client", "session"]
