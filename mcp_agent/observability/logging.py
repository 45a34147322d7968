"""Logging for the command line: standard error or a file, one line a record, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, cast

from pydantic import BaseModel, SecretStr

from mcp_agent.config import LoggerSettings
from mcp_agent.executor.lines import run_of
from mcp_agent.observability.json_lines import JSONFormatter

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(run)s%(message)s"
_PATTERNS = re.compile(r"(Bearer\s+|(?<![A-Za-z0-9])sk-)[A-Za-z0-9._~+/=-]{8,}")
_SIGNS = ("Bearer", "sk-")  # of a match: looking for them is quicker
# Of the variables and headers of a downstream server, those are masked whose name says that they are secret.
_SECRET_NAME = re.compile(r"key|secret|token|password|auth|cookie", re.IGNORECASE)
_SHORTEST = 6


class Redact(logging.Filter):
    """Masks the configured secrets, and what looks like a key, in everything that is logged."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args = self.masked(text), ()
        if record.exc_text:
            record.exc_text = self.masked(record.exc_text)
        return True

    def masked(self, text: str) -> str:
        """The text with `***` where a secret was."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _PATTERNS.sub(r"\1***", text) if any(sign in text for sign in _SIGNS) else text


class RunFormatter(logging.Formatter):
    """Names the run before what it, or one of its steps, has written."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that `logging` calls
        run_id = run_of(record)
        record.run = "" if run_id is None or run_id in record.message else f"[{run_id}] "
        return super().formatMessage(record)


def configure(settings: LoggerSettings, secrets: Iterable[str]) -> None:
    """Sets up the root logger for this process, once, at its start."""
    handlers: list[logging.Handler] = []
    if "console" in settings.transports:
        handlers.append(logging.StreamHandler(sys.stderr))
    if "file" in settings.transports and settings.path is not None:
        settings.path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(settings.path, encoding="utf-8"))
    redact = Redact(secrets)
    for handler in handlers:
        handler.addFilter(redact)
        handler.setFormatter(JSONFormatter(redact.masked) if settings.format == "json" else RunFormatter())
    logging.basicConfig(level=settings.level.upper(), handlers=handlers or [logging.NullHandler()], force=True)
    for noisy in ("httpx2", "httpcore2", "mcp", "asyncio", "temporalio.worker", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A failed attempt of a step is part of its run's status; Temporal's own line for it comes with a traceback.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """Every secret value of a configuration."""
    for name in type(settings).model_fields:
        yield from _secrets(getattr(settings, name))


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from secrets_of(value)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _secrets(item)
    elif isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if not isinstance(item, SecretStr) or _SECRET_NAME.search(name):
                yield from _secrets(item)
