"""Loads the configuration of something that is deployed, and checks it as its processes would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from mcp_agent.cli.commands import cli
from mcp_agent.config import Settings, load_settings
from mcp_agent.server.codec_server import check_codec_binding
from mcp_agent.server.hosts import check_binding

A_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # 32 bytes, also long enough for a token
OWN_VARIABLES = {"PYTHON", "CONFIG_DIR"}


def loaded(text: str, folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    """The settings, with something in every variable that the text asks for."""
    for name in asked_for(text):
        patch.setenv(name, A_KEY)
    file = folder / "mcp_agent.config.yaml"
    file.write_text(text)
    return load_settings(file)


def asked_for(text: str) -> set[str]:
    """The variables without a default."""
    return set(re.findall(r"\$\{(\w+)\}", text)) - OWN_VARIABLES


def check_serving(settings: Settings) -> None:
    """Raises ConfigError for an address that server or codec server would refuse to serve."""
    check_binding(settings.server, settings.server.host)
    if settings.temporal.codec_server.auth is not None:
        check_codec_binding(settings.temporal.codec_server, "0.0.0.0")


def parsed(arguments: Sequence[str]) -> str:
    """The name of the command. Raises an error of the command line for what it does not know."""
    name, *options = arguments
    group = typer.main.get_command(cli)
    command = group.commands[name]
    command.make_context(name, list(options), resilient_parsing=False)
    return name
