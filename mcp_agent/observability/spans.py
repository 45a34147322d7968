"""What is traced. This module knows no OpenTelemetry, which is imported only where traces are asked for (`tracing.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request to a model, as OpenTelemetry's conventions for generative AI see it.

    Attributes:
        provider: `openai`, `azure`, `anthropic`, `google` or one of the app's own.
        model: `None` where the provider's settings choose it.
    """

    workflow: str
    run_id: str
    agent: str
    provider: str
    model: str | None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back."""

    model: str
    stop_reason: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cost_usd: float | None


class Span:
    """What is under way; this one is none."""

    def failed(self, kind: str) -> None:
        """It has ended with an error; `kind` names it."""


class ModelSpan(Span):
    """The span of one request to a model; this one is none."""

    records_content = False

    def asked(self, system: str | None, messages: Sequence[Any]) -> None:
        """What was asked, where `records_content`."""

    def answered(self, answer: ModelAnswer, message: Any) -> None:
        """What came back."""


class Spans:
    """Begins spans. This one begins none: nobody has asked for traces.

    Those of Temporal's client and workers are made by `temporalio.contrib.opentelemetry`, those of MCP's requests, served and
    sent, by MCP's SDK. The in-process engine makes spans of the same names and shape as Temporal's here.
    """

    on = False

    def interceptors(self) -> list[Any]:
        """For Temporal's client."""
        return []

    def starting(self, workflow: str, run_id: str) -> Any:
        """A run is started here. What it gives is the parent of `run`."""
        return None

    def run(self, workflow: str, run_id: str, parent: Any) -> AbstractContextManager[Span]:
        """Around all that a run does."""
        return nullcontext(Span())

    def scheduling(self, step: str) -> Any:
        """A run asks for a step. What it gives is the parent of `attempt`."""
        return None

    def attempt(self, step: str, run_id: str, number: int, parent: Any) -> AbstractContextManager[None]:
        """Around one attempt of a step."""
        return nullcontext()

    def model_call(self, request: ModelRequest) -> AbstractContextManager[ModelSpan]:
        """Around one request to a model."""
        return nullcontext(ModelSpan())
