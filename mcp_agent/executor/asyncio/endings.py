"""How the end of a run without a result is told."""

from __future__ import annotations

from mcp_agent.errors import RunCancelledError, RunFailedError, RunTerminatedError, RunTimedOutError
from mcp_agent.executor.runs import RunState


def ending(state: RunState) -> RunFailedError:
    """The error for a closed run that has no result."""
    match state.status:
        case "cancelled":
            return RunCancelledError(f"Run `{state.run_id}` was cancelled.", run_id=state.run_id)
        case "terminated":
            why = "." if state.error is None else f": {state.error.message}"
            return RunTerminatedError(f"Run `{state.run_id}` was terminated{why}", run_id=state.run_id)
        case "timed_out":
            return RunTimedOutError(f"Run `{state.run_id}` ran out of time.", run_id=state.run_id)
        case _:
            error = state.error
            assert error is not None
            return RunFailedError(f"Run `{state.run_id}` failed: {error.message}", run_id=state.run_id, type=error.code)
