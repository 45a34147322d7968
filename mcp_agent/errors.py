"""Every error this package raises on purpose.

    MCPAgentError
    ├── ConfigError                 a setting is wrong: says which, and what it may be
    ├── DefinitionError             a workflow, tool or task is declared wrongly
    ├── NotInWorkflowError          a workflow API was called outside a run
    ├── WorkerNotConfigured         a Temporal worker runs our workflows without our plugin
    ├── UnreadablePayload           what is stored with a run cannot be read
    │   ├── EncryptionError         it cannot be decrypted: names the key by its id
    │   └── PayloadMissing          it is kept outside of the history, and is not there: names where
    ├── StorageUnavailable          where large values are kept cannot be reached
    ├── IssuerUnavailable           the OAuth server cannot be asked about a caller's token
    ├── WorkflowApplicationError    what user code raises to fail a step or a run, on both engines
    │   ├── StepTimeoutError        a step ran out of its time
    │   ├── StepCancelledError      a step was cancelled from outside of the run
    │   ├── BudgetExceeded          a run or an agent has used what it may use
    │   ├── MaxTurnsExceeded        a model still asks for tools after `max_turns`
    │   ├── IncompleteAnswerError   a model's answer is cut off, refused, filtered or empty
    │   └── StructuredAnswerError   a model's answer does not fit the type that was asked for
    ├── RunFailedError              a run that a handle waited for did not complete
    │   ├── RunCancelledError
    │   ├── RunTerminatedError
    │   └── RunTimedOutError
    └── CallError                   a call was refused, and nothing was changed
        ├── InvalidArguments        ├── NotFound            ├── AlreadyAnswered
        ├── AlreadyClosed           ├── IdempotencyConflict ├── NotWaiting
        ├── NoWorker                ├── EngineStarting      ├── EngineUnavailable
        ├── RateLimited         └── InsufficientScope

Messages quote the offending value in backticks and end in what to do. They never hold a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar


class MCPAgentError(Exception):
    """The root of the tree."""


class ConfigError(MCPAgentError):
    """A setting is missing, unknown, or has a wrong value."""


class DefinitionError(MCPAgentError):
    """A workflow, tool or task is declared in a way that cannot be served."""


class NotInWorkflowError(MCPAgentError):
    """A call of `mcp_agent.workflow` that needs a running workflow was made outside one."""


class WorkerNotConfigured(MCPAgentError):
    """A Temporal worker executes a workflow of this package without this package's plugin."""


class UnreadablePayload(MCPAgentError):
    """What is stored with a run cannot be read: it was changed, or written by another program."""


class PayloadMissing(UnreadablePayload):
    """A large value is not where it is kept outside of the run's history. `key` is its name there."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


class StorageUnavailable(MCPAgentError):
    """Where large values are kept cannot be reached, or refuses to keep or to give them."""


class EncryptionError(UnreadablePayload):
    """What is stored cannot be decrypted: its key is not given, or it was changed. Names the key by its id, never its value."""


class IssuerUnavailable(MCPAgentError):
    """The OAuth server cannot be reached, or answers with what makes no sense: whether a token is good is not known."""


class WorkflowApplicationError(MCPAgentError):
    """Fails a step or a run with a type that policies and callers can match, on both engines.

    Args:
        message: What went wrong, for people. Never put a secret in it.
        type: The name that `non_retryable_error_types` and callers match; the class name by default.
        non_retryable: Fail at once instead of trying again.
        details: JSON-serialisable values that travel with the error.
        next_retry_delay: When to try again, instead of the policy's back-off.
    """

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type or self.__class__.__name__
        self.non_retryable = non_retryable
        self.details: Sequence[Any] = details
        self.next_retry_delay = next_retry_delay


class StepTimeoutError(WorkflowApplicationError):
    """A step ran out of its time and of its attempts."""


class StepCancelledError(WorkflowApplicationError):
    """A step was cancelled, but not by the run that waits for it."""


_REACHED_IN_TEXT = 500


class _Unfinished(WorkflowApplicationError):
    """An answer that was not finished.

    Attributes:
        reached: The text so far; in `details` too, and the beginning of it in the message.
    """

    def __init__(self, message: str, *details: Any, reached: str) -> None:
        shown = f" What was reached: {reached[:_REACHED_IN_TEXT]}" if reached else ""
        super().__init__(message + shown, *details, reached, non_retryable=True)
        self.reached = reached


class BudgetExceeded(_Unfinished):
    """A run or an agent has used what it may use. `limit` names the field of `Budget`, also in `details`."""

    def __init__(self, message: str, *, limit: str, reached: str) -> None:
        super().__init__(message, limit, reached=reached)
        self.limit = limit


class MaxTurnsExceeded(_Unfinished):
    """The model still asks for tools after `max_turns`."""

    def __init__(self, agent: str, turns: int, reached: str) -> None:
        super().__init__(f"Agent `{agent}` still asks for tools after {turns} turns: raise `max_turns`.", reached=reached)


class IncompleteAnswerError(WorkflowApplicationError):
    """The model's answer is cut off, refused, filtered or empty. `details` holds the stop reason and the text so far."""

    def __init__(self, agent: str, stop_reason: str, text: str) -> None:
        super().__init__(
            f"The answer to agent `{agent}` ended with `{stop_reason}`: use `generate` to handle such answers.",
            stop_reason,
            text,
            non_retryable=True,
        )
        self.stop_reason = stop_reason
        self.text = text


class StructuredAnswerError(_Unfinished):
    """The model's answer does not fit the type that was asked for, after it was told so. `reached` is the last answer."""

    def __init__(self, agent: str, expected: str, problem: str, answer: str) -> None:
        super().__init__(f"The answer to agent `{agent}` is no `{expected}`: {problem}.", problem, reached=answer)
        self.problem = problem


class RunFailedError(MCPAgentError):
    """The run ended without a result.

    Args:
        message: Why.
        run_id: The run's public id.
        type: The error type that ended it, such as `ValueError`.
    """

    def __init__(self, message: str, *, run_id: str, type: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.type = type or self.__class__.__name__


class RunCancelledError(RunFailedError):
    """The run was cancelled."""


class RunTerminatedError(RunFailedError):
    """The run was ended from outside, without running its own code."""


class RunTimedOutError(RunFailedError):
    """The run reached its execution or run time-out."""


class CallError(MCPAgentError):
    """A call was refused and changed nothing. `code` and `retryable` are what MCP clients see."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    retry_after_seconds: float | None = None


class InvalidArguments(CallError):
    """The arguments do not fit the schema; the message names every bad field with its path."""

    code = "invalid_arguments"


class NotFound(CallError):
    """No such run for this caller and this workflow."""

    code = "not_found"


class AlreadyAnswered(CallError):
    """The request was answered before, differently."""

    code = "already_answered"


class AlreadyClosed(CallError):
    """The run has ended."""

    code = "already_closed"


class IdempotencyConflict(CallError):
    """The key belongs to a run with another input."""

    code = "idempotency_conflict"


class NotWaiting(CallError):
    """The run waits for nothing that this answers."""

    code = "not_waiting"


class NoWorker(CallError):
    """No worker serves the run's task queue, or none can go on with it."""

    code = "no_worker"
    retryable = True


class EngineStarting(CallError):
    """The engine is not up yet."""

    code = "engine_starting"
    retryable = True


class EngineUnavailable(CallError):
    """The engine could not be reached or started."""

    code = "engine_unavailable"
    retryable = True


class RateLimited(CallError):
    """The caller has too much under way. `retry_after_seconds` says when to try again, where that is known."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class InsufficientScope(CallError):
    """The caller's token does not allow this. `scope` is what it lacks."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Your token lacks the scope `{scope}`: ask for a token that has it. Nothing was changed.")
        self.scope = scope
