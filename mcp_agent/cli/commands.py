"""The commands of `mcp-agent`."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings, load_settings
from mcp_agent.errors import ConfigError, MCPAgentError
from mcp_agent.observability.logging import configure, secrets_of

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Durable agent workflows over MCP."
)
dev = typer.Typer(no_args_is_help=True, help="The embedded Temporal.")
cli.add_typer(dev, name="dev")

Target = Annotated[
    str | None,
    typer.Option("--app", help="What to serve, as `module:attribute`; `server.app` of the configuration by default."),
]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file; looked for by default.")]


def run(arguments: list[str], stdout: BinaryIO | None) -> None:
    """Runs one command. `stdout` is the protocol's stream for `serve --stdio`."""
    try:
        code = cli(arguments, standalone_mode=False, obj=stdout)
    except MCPAgentError as error:
        sys.stderr.write(f"mcp-agent: {error}\n")
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(130) from None
    except typer.TyperException as error:  # a wrong option or command
        sys.stderr.write(f"mcp-agent: {error.format_message()}\n")
        raise SystemExit(2) from None
    if code:
        raise SystemExit(code)


@cli.command()
def serve(
    context: typer.Context,
    stdio: Annotated[bool, typer.Option("--stdio", help="Speak over standard input and output.")] = False,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    app: Target = None,
    config: Config = None,
) -> None:
    """Serves an app's workflows over MCP: streamable HTTP (/mcp) and SSE (/sse), or stdio."""
    loaded, settings = _load(app, config)
    # Imported late: `worker` and `dev` do without the MCP server.
    from mcp_agent.cli.serving import over_http, over_stdio  # noqa: PLC0415

    if stdio:
        assert context.obj is not None
        asyncio.run(over_stdio(loaded, context.obj))
    else:
        asyncio.run(over_http(loaded, host or settings.server.host, settings.server.port if port is None else port))


@cli.command()
def worker(app: Target = None, config: Config = None) -> None:
    """Runs a Temporal worker alone, for when servers and workers run apart."""
    loaded, settings = _load(app, config)
    if settings.execution_engine != "temporal":
        raise ConfigError("A worker needs `execution_engine: temporal`; in-process runs live in the server.")
    from mcp_agent.cli.serving import work  # noqa: PLC0415

    asyncio.run(work(loaded))


@cli.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Histories as JSON, as Temporal's web page downloads them.")],
    app: Target = None,
    config: Config = None,
) -> None:
    """Replays recorded runs against the code of today, and fails if one would go another way."""
    loaded, _ = _load(app, config)
    replayer = loaded.replayer()
    failed = False
    for file in files:
        try:
            done = asyncio.run(replayer.replay_workflow(file))
        except MCPAgentError as error:
            failed = True
            typer.echo(f"{file}: {error}")
        else:
            typer.echo(f"{file}: ok, {done.workflow}, {done.events} events")
    if failed:
        raise typer.Exit(1)


@dev.command()
def status(config: Config = None) -> None:
    """Says where the embedded Temporal is."""
    from mcp_agent.executor.temporal.dev_server import data_dir  # noqa: PLC0415
    from mcp_agent.executor.temporal.dev_server import status as server_status  # noqa: PLC0415

    folder = data_dir(load_settings(config).temporal.data_dir)
    server = server_status(folder)
    if server is None:
        typer.echo(f"not running (its data is in {folder})")
        raise typer.Exit(1)
    typer.echo(f"Temporal at {server.address}, web page {server.ui_url}, process {server.server_pid}, data in {folder}")


@dev.command()
def stop(config: Config = None) -> None:
    """Stops the embedded Temporal. A process that uses it has it started again."""
    from mcp_agent.executor.temporal.dev_server import data_dir  # noqa: PLC0415
    from mcp_agent.executor.temporal.dev_server import stop as server_stop  # noqa: PLC0415

    typer.echo("stopping" if server_stop(data_dir(load_settings(config).temporal.data_dir)) else "not running")


def _load(target: str | None, config: Path | None) -> tuple[MCPApp, Settings]:
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
    try:
        found = getattr(importlib.import_module(module), attribute or "app", None)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigError(f"`{target}`: there is no module `{error.name}` in {os.getcwd()} or on the path.") from None
        raise
    if not isinstance(found, MCPApp):
        raise ConfigError(f"`{target}` is no MCPApp: name one as `module:attribute`.")
    return found
