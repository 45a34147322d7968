"""The app and the settings that a command is about."""

from __future__ import annotations

import importlib
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings, load_settings
from mcp_agent.errors import ConfigError
from mcp_agent.observability.logging import configure, secrets_of

Target = Annotated[
    str | None,
    typer.Option("--app", help="What to serve, as `module:attribute`; `server.app` of the configuration by default."),
]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file; looked for by default.")]


def load(target: str | None, config: Path | None) -> tuple[MCPApp, Settings]:
    """The app with its settings; logging is set up before the app's modules are imported."""
    settings = load_settings(config)
    configure(settings.logger, secrets_of(settings))
    folder = str(settings.source.parent if settings.source else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = target or settings.server.app
    if name is None:
        raise ConfigError("Say what to serve: `--app module:attribute`, or `server.app` in the configuration.")
    app = load_app(name)
    app.use(settings)
    return app, settings


def load_app(target: str) -> MCPApp:
    """The app at `module:attribute`. Raises ConfigError if there is none."""
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"`{target}`: `{module}` is no name of a module: name the app as `module:attribute`.")
    try:
        found = getattr(importlib.import_module(module), attribute or "app", None)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigError(f"`{target}`: there is no module `{error.name}` in {os.getcwd()} or on the path.") from None
        raise
    if not isinstance(found, MCPApp):
        raise ConfigError(f"`{target}` is no MCPApp: name one as `module:attribute`.")
    return found


_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def age(option: str, text: str) -> timedelta:
    """What `7d`, `36h` or `90m` means. Raises ConfigError, which names the option."""
    found = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if found is None:
        raise ConfigError(f"`{option}` is `{text}`: give a number and `m`, `h` or `d`, such as `7d`.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
