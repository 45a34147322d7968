"""The step that calls a local function which a model has asked for."""

from __future__ import annotations

import inspect

from mcp_types import TextContent
from pydantic_core import PydanticSerializationError, to_json

from mcp_agent.errors import InvalidArguments, WorkflowApplicationError
from mcp_agent.executor.failures import contained, error_text, failure_type, in_thread
from mcp_agent.mcp.definitions import RESULT_LIMIT
from mcp_agent.workflows.llm.functions import (
    CALL_FUNCTION,
    CallFunction,
    FunctionResult,
    content_of,
    found,
    with_arguments,
)

__all__ = ["CALL_FUNCTION", "FunctionActivities"]


class FunctionActivities:
    """Args:
    largest: The most bytes that one result may have.
    """

    def __init__(self, largest: int = RESULT_LIMIT) -> None:
        self._largest = largest

    async def call_function(self, call: CallFunction) -> FunctionResult:
        """Calls it; a plain function runs in a thread. What it raises is told to the model, which may call it otherwise.

        Raises:
            WorkflowApplicationError: The function raised one, which retry policies can match; or type `UnknownFunction`.
        """
        function = found(call.function)
        name = function.__name__
        try:
            made = with_arguments(function, call.arguments)
            with contained():
                value = await (made() if inspect.iscoroutinefunction(function) else in_thread(made))
                if inspect.isawaitable(value):  # a plain decorator of a coroutine function
                    value = await value
            result = FunctionResult(content=content_of(value)[0])
        except WorkflowApplicationError:
            raise
        except InvalidArguments as error:
            return _failed(f"The arguments of `{name}` do not fit: {error}")
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            return _failed(f"`{name}` returned what has no JSON form: {error}")
        except Exception as error:
            return _failed(f"`{name}` failed ({failure_type(error)}): {error_text(error)}")
        size = len(to_json(result))
        if size > self._largest:
            return _failed(f"The result of `{name}` has {size:,} bytes; at most {self._largest:,} can be used. Ask for less.")
        return result


def _failed(text: str) -> FunctionResult:
    return FunctionResult(content=[TextContent(text=text)], is_error=True)
