"""A model that answers from a file: for tests, demonstrations and work without a key.

It remembers nothing, so that a restarted worker answers the same: the reply follows from the agent's name, the number of
answers in the conversation so far (the turn, from 0) and the text of the last message; errors from the attempt's number.

    agents:
      researcher:
        - text: I will look it up.
          tool_calls: [{name: search, arguments: {query: "{last_user}"}}]
        - errors: [{status: 429, retry_after: 0.5, times: 2}]
          text: "Found: {last_tool_result}"
      "*":
        - match: (?i)hello
          text: Hello! This is turn {turn}.
        - any_turn: true
          text: "You said: {last_user}"

A reply fits a turn by its place among the replies that have neither `match` nor `turn` nor `any_turn`. The first fitting
one is taken in this order: with `match` or `turn`, by place, with `any_turn` alone. PyYAML is imported when a file is read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, cast

from mcp_types import TextContent, ToolResultContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import to_json

from mcp_agent.observability.pricing import Cost
from mcp_agent.workflows.llm.messages import (
    Block,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    Usage,
    text_of,
    tool_use,
)
from mcp_agent.workflows.llm.providers.base import (
    CallContext,
    ProviderError,
    ProviderReply,
    error_type,
    is_retryable,
    tool_arguments,
)

MODEL = "scripted"
DEFAULT_TIMEOUT = 300.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedToolCall(_Part):
    """A tool call of a reply.

    Attributes:
        name: The tool.
        arguments: A mapping; or a text, taken for what the model wrote, which may be broken JSON.
        id: `call_<turn>_<place>` by default.
    """

    name: str
    arguments: dict[str, Any] | str = {}
    id: str | None = None


class ScriptedError(_Part):
    """An attempt that fails.

    Attributes:
        status: The HTTP status; none for a lost connection.
        message: In the provider's words.
        retry_after: Seconds that the provider asks to wait.
        times: How many attempts fail so.
    """

    status: int | None = Field(default=None, ge=400, le=599)
    message: str = "scripted"
    retry_after: float | None = Field(default=None, gt=0)
    times: int = Field(default=1, ge=1)


class ScriptedReply(_Part):
    """What the model does in one turn. Texts may hold `{last_user}`, `{last_tool_result}` and `{turn}`.

    Attributes:
        text: What it says.
        tool_calls: What it calls.
        finish_reason: By default `tool_use`, `end_turn` or `empty`, as it fits.
        errors: How the first attempts fail, one after the other.
        delay_seconds: How long every attempt takes; the text grows word by word meanwhile.
        match: A regular expression that the last message's text or tool results must hold.
        turn: The only turn it is for.
        any_turn: It fits every turn for which there is nothing else.
        usage: What it counts; by default a token for every four characters.
        cost_usd: What it costs; by default no price is known.
    """

    text: str = ""
    tool_calls: list[ScriptedToolCall] = []
    finish_reason: StopReason | None = None
    errors: list[ScriptedError] = []
    delay_seconds: float = Field(default=0, ge=0)
    match: re.Pattern[str] | None = None
    turn: int | None = Field(default=None, ge=0)
    any_turn: bool = False
    usage: Usage | None = None
    cost_usd: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_place(self) -> ScriptedReply:
        if self.turn is not None and self.any_turn:
            raise ValueError("a reply has `turn` or `any_turn`, not both")
        return self

    @property
    def placed(self) -> bool:
        """Whether its place in the list says which turn it is for."""
        return self.match is None and self.turn is None and not self.any_turn

    def error_of(self, attempt: int) -> ScriptedError | None:
        """How this attempt fails; the first is 1."""
        for error in self.errors:
            if attempt <= error.times:
                return error
            attempt -= error.times
        return None

    def fits(self, turn: int, said: str) -> bool:
        """Whether its `turn` and its `match` allow it."""
        return self.turn in (None, turn) and (self.match is None or self.match.search(said) is not None)


class Script(_Part):
    """Replies by agent; those of `*` are for every agent that is not named."""

    agents: dict[str, list[ScriptedReply]]

    @field_validator("agents")
    @classmethod
    def _some(cls, agents: dict[str, list[ScriptedReply]]) -> dict[str, list[ScriptedReply]]:
        if not agents:
            raise ValueError("name at least one agent, or `*`")
        return agents

    @classmethod
    def load(cls, path: Path) -> Script:
        """Reads a YAML or JSON file.

        Raises:
            ProviderError: Type `ScriptError`: it cannot be read, or is no script.
        """
        import yaml  # noqa: PLC0415 - see the module's docstring

        try:
            return cls.model_validate(yaml.safe_load(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problem = str(error)
        except ValidationError as error:
            problem = "; ".join(f"`{'.'.join(map(str, one['loc']))}`: {one['msg']}" for one in error.errors())
        raise _script_error(f"The script `{path}` cannot be used: {problem}. Correct it or `scripted.file`.")

    def reply(self, agent: str, turn: int, said: str) -> ScriptedReply:
        """What the agent's model answers.

        Raises:
            ProviderError: Type `ScriptError`: there is no fitting reply.
        """
        replies = self.agents.get(agent, self.agents.get("*", []))
        found = next(self._candidates(replies, turn, said), None)
        if found is None:
            raise _script_error(
                f"The script has no reply for agent `{agent}`, turn {turn} (last message: `{said[:80]}`):"
                f" add one under `agents.{agent}`."
            )
        return found

    @staticmethod
    def _candidates(replies: list[ScriptedReply], turn: int, said: str) -> Iterator[ScriptedReply]:
        chosen = (one for one in replies if one.match is not None or one.turn is not None)
        yield from (one for one in chosen if one.fits(turn, said))
        yield from [one for one in replies if one.placed][turn : turn + 1]
        yield from (one for one in replies if one.any_turn and one.match is None)


def _script_error(message: str) -> ProviderError:
    return ProviderError(message, type="ScriptError", retryable=False)


class ScriptedSettings(Protocol):
    """The `scripted` section of the configuration."""

    @property
    def file(self) -> Path | None: ...


class ScriptedClient:
    """The scripted model.

    Args:
        script: The replies, or the file that holds them, read at the first call.
    """

    def __init__(self, script: Script | Path) -> None:
        self._script = script

    @property
    def timeout_seconds(self) -> float:
        return DEFAULT_TIMEOUT

    @property
    def streams(self) -> bool:
        return True

    async def generate(
        self, setup: LLMSetup, messages: list[Message], params: RequestParams, context: CallContext
    ) -> ProviderReply:
        """The reply for this agent and turn; `setup` and `params` play no part. See `ProviderClient`."""
        if isinstance(self._script, Path):
            self._script = await asyncio.to_thread(Script.load, self._script)
        turn = sum(message.role == "assistant" for message in messages)
        reply = self._script.reply(context.agent, turn, _said(messages[-1:]))
        error = reply.error_of(context.attempt)
        if error is not None:
            await asyncio.sleep(reply.delay_seconds)
            raise _provider_error(error)
        answer = _answer(reply, turn, messages)
        await _written(answer.message.text, reply.delay_seconds, context.on_text)
        return answer

    async def open(self) -> None:
        """There is nothing to open."""

    def secrets(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        """There is nothing to close."""


def _provider_error(error: ScriptedError) -> ProviderError:
    wait = timedelta(seconds=error.retry_after) if error.retry_after is not None else None
    if error.status is None:
        return ProviderError(f"connection lost: {error.message}", type="APIConnectionError", retry_after=wait)
    return ProviderError(
        f"status {error.status}: {error.message}",
        type=error_type(error.status),
        status=error.status,
        retryable=is_retryable(error.status),
        retry_after=wait,
    )


async def _written(text: str, seconds: float, on_text: Callable[[str], None] | None) -> None:
    """Takes the time of the answer, and tells its words one by one, evenly spread."""
    words = re.findall(r"\s*\S+\s*$|\s*\S+", text)
    if on_text is None or not words:
        await asyncio.sleep(seconds)
        return
    for word in words:
        on_text(word)
        await asyncio.sleep(seconds / len(words))


def _answer(reply: ScriptedReply, turn: int, messages: list[Message]) -> ProviderReply:
    names = {
        "last_user": _last(messages, _user_text),
        "last_tool_result": _last(messages, _tool_result_text),
        "turn": str(turn),
    }
    content: list[Block] = [TextContent(text=_filled(reply.text, names))] if reply.text else []
    for place, call in enumerate(reply.tool_calls):
        arguments = _filled(call.arguments, names)
        known = tool_arguments(arguments) if isinstance(arguments, str) else arguments
        content.append(tool_use(call.id or f"call_{turn}_{place}", call.name, known))
    message = Message.assistant(content)
    stop_reason = reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn" if content else "empty")
    cost = None if reply.cost_usd is None else Cost(reply.cost_usd, "script")
    return ProviderReply(message, stop_reason, reply.usage or _usage(messages, message), MODEL, cost)


def _usage(messages: list[Message], answer: Message) -> Usage:
    return Usage(
        input_tokens=sum(len(_said([message])) for message in messages) // 4,
        output_tokens=len(to_json(answer)) // 4,
    )


def _filled(value: Any, names: dict[str, str]) -> Any:
    """`value` with `{name}` replaced in every text in it, in one pass, so that what is put in is left alone."""
    if isinstance(value, str):
        return re.sub(r"\{(last_user|last_tool_result|turn)\}", lambda found: names[found[1]], value)
    if isinstance(value, dict):
        return {key: _filled(one, names) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_filled(one, names) for one in cast("list[Any]", value)]
    return value


def _said(messages: list[Message]) -> str:
    return "\n".join(filter(None, (text for one in messages for text in (_user_text(one), _tool_result_text(one)))))


def _last(messages: list[Message], text: Any) -> str:
    return next((found for message in reversed(messages) if message.role == "user" and (found := text(message))), "")


def _user_text(message: Message) -> str:
    return message.text


def _tool_result_text(message: Message) -> str:
    results = [block for block in message.content if isinstance(block, ToolResultContent)]
    return "\n".join(text_of(block.content) or _structured(block) for block in results)


def _structured(block: ToolResultContent) -> str:
    return "" if block.structured_content is None else to_json(block.structured_content).decode()
