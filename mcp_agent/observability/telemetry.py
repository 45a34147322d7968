"""What an app tells of itself while it runs: measurements and traces. Both are next to free where nobody has asked for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module

from mcp_agent.config_observability import ObservabilitySettings
from mcp_agent.errors import ConfigError, WorkflowApplicationError
from mcp_agent.observability.metrics import (
    DOWNSTREAM_CALLS,
    DOWNSTREAM_SECONDS,
    MODEL_CALLS,
    MODEL_COST,
    MODEL_SECONDS,
    MODEL_TOKENS,
    STEP_ATTEMPTS,
    STEP_SECONDS,
    Measurements,
    Metrics,
)
from mcp_agent.observability.spans import ModelAnswer, ModelRequest, ModelSpan, Spans

COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Of one app."""

    metrics: Metrics = field(default_factory=Metrics)
    spans: Spans = field(default_factory=Spans)

    def attempt(self, workflow: str, step: str, outcome: Callable[[BaseException], str]) -> AbstractContextManager[None]:
        """Measures one attempt of a step; `outcome` puts what ended it into a word."""
        return self._measured(workflow, step, outcome) if self.metrics.on else nullcontext()

    @contextmanager
    def _measured(self, workflow: str, step: str, outcome: Callable[[BaseException], str]) -> Generator[None, None, None]:
        begun, how = time.perf_counter(), COMPLETED
        try:
            yield
        except BaseException as error:
            how = outcome(error)
            raise
        finally:
            self.metrics.add(STEP_ATTEMPTS, workflow=workflow, step=step, outcome=how)
            self.metrics.observe(STEP_SECONDS, time.perf_counter() - begun, step=step, outcome=how)

    @contextmanager
    def model_call(self, request: ModelRequest) -> Generator[ModelCall, None, None]:
        """Measures and traces one request to a model."""
        with self.spans.model_call(request) as span:
            call = ModelCall(span)
            begun, how = time.perf_counter(), COMPLETED
            try:
                yield call
            except BaseException as error:
                how = _kind(error)
                span.failed(how)
                raise
            finally:
                if self.metrics.on:
                    self._measure(request, call.answer, how, time.perf_counter() - begun)

    def _measure(self, request: ModelRequest, answer: ModelAnswer | None, how: str, seconds: float) -> None:
        model = answer.model if answer is not None else request.model or "unknown"
        caller = {"workflow": request.workflow, "agent": request.agent, "provider": request.provider, "model": model}
        self.metrics.add(MODEL_CALLS, **caller, outcome=how)
        self.metrics.observe(MODEL_SECONDS, seconds, provider=request.provider, model=model, outcome=how)
        if answer is None:
            return
        for kind in ("input", "output", "cached_input", "cache_write"):
            tokens: int = getattr(answer, f"{kind}_tokens")
            if tokens:
                self.metrics.add(MODEL_TOKENS, tokens, **caller, kind=kind)
        if answer.cost_usd is not None:
            self.metrics.add(MODEL_COST, answer.cost_usd, **caller)

    @contextmanager
    def downstream(self, server: str, method: str, tool: str = "") -> Generator[DownstreamCall, None, None]:
        """Measures one request to a downstream MCP server; MCP's SDK traces it."""
        call = DownstreamCall()
        begun = time.perf_counter()
        try:
            yield call
        except BaseException as error:
            call.outcome = _kind(error)
            raise
        finally:
            if self.metrics.on:
                self.metrics.add(DOWNSTREAM_CALLS, server=server, method=method, tool=tool, outcome=call.outcome)
                seconds = time.perf_counter() - begun
                self.metrics.observe(DOWNSTREAM_SECONDS, seconds, server=server, method=method, outcome=call.outcome)


@dataclass(slots=True)
class ModelCall:
    """A request to a model that is under way."""

    span: ModelSpan
    answer: ModelAnswer | None = None


@dataclass(slots=True)
class DownstreamCall:
    """A request to a downstream server that is under way."""

    outcome: str = COMPLETED


def _kind(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    kind = getattr(error, "type", None)  # of step errors and of providers' errors
    return kind if isinstance(kind, str) else type(error).__name__


def attempt_outcome(error: BaseException) -> str:
    """How an attempt of a step ended that has raised this."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if isinstance(error, WorkflowApplicationError):
        return {"TimeoutError": "timed_out", "CancelledError": "cancelled"}.get(error.type, "failed")
    return "failed"


def telemetry_of(settings: ObservabilitySettings, app: str, engine: str, secrets: Iterable[str]) -> Telemetry:
    """What the settings ask for.

    Raises:
        ConfigError: Traces are asked for and cannot be had.
    """
    metrics = Metrics() if settings.metrics is None else Measurements()
    if settings.tracing is None:
        return Telemetry(metrics)
    try:
        tracing = import_module("mcp_agent.observability.tracing")  # imports OpenTelemetry's SDK
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        text = f"`observability.tracing` needs the package `{error.name}`: install `durable-mcp-agent[tracing]`."
        raise ConfigError(text) from None
    return Telemetry(metrics, tracing.open_spans(settings.tracing, app, engine, secrets))
