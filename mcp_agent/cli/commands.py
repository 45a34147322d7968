"""The commands of `mcp-agent`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mcp_agent.cli.deployment import deployment
from mcp_agent.cli.loading import Config, Target, load
from mcp_agent.config import Settings, load_settings
from mcp_agent.config_queues import unknown_queue
from mcp_agent.errors import ConfigError, MCPAgentError
from mcp_agent.observability.logging import configure, secrets_of
from mcp_agent.observability.stdio import Wire

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Durable agent workflows over MCP."
)
dev = typer.Typer(no_args_is_help=True, help="The embedded Temporal.")
cli.add_typer(dev, name="dev")
storage = typer.Typer(no_args_is_help=True, help="Where large values are kept.")
cli.add_typer(storage, name="storage")
cli.add_typer(deployment, name="deployment")


def run(arguments: list[str], wire: Wire | None) -> None:
    """Runs one command. `wire` is the protocol's for `serve --stdio`."""
    try:
        code = cli(arguments, standalone_mode=False, obj=wire)
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
    if stdio and (host is not None or port is not None):
        raise ConfigError("`--host` and `--port` have no meaning with `--stdio`: leave them out, or leave `--stdio` out.")
    loaded, settings = load(app, config)
    # Imported late: `worker` and `dev` do without the MCP server.
    from mcp_agent.cli.serving import over_http, over_stdio  # noqa: PLC0415

    if stdio:
        assert context.obj is not None
        asyncio.run(over_stdio(loaded, context.obj))
    else:
        asyncio.run(over_http(loaded, host or settings.server.host, settings.server.port if port is None else port))


@cli.command()
def worker(
    app: Target = None,
    config: Config = None,
    queues: Annotated[
        str | None,
        typer.Option(help="Serve these of `temporal.queues` only, such as `models,tools`; `workflows` is that of the workflows."),
    ] = None,
) -> None:
    """Runs a Temporal worker alone, for when servers and workers run apart."""
    loaded, settings = load(app, config)
    if settings.execution_engine != "temporal":
        raise ConfigError("A worker needs `execution_engine: temporal`; in-process runs live in the server.")
    names = _names(queues, settings)
    from mcp_agent.cli.serving import work  # noqa: PLC0415

    asyncio.run(work(loaded, names))


@cli.command()
def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Histories as JSON, as Temporal's web page downloads them, or folders of them.")
    ] = None,
    from_server: Annotated[bool, typer.Option("--from-server", help="Replay recent runs of the app's task queue.")] = False,
    workflow: Annotated[list[str] | None, typer.Option(help="Only its runs; may be given several times.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs that began in that time, such as `7d`, `36h`.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs that are `open`, or `closed`; `all` by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many, those under way first; 500 by default.", min=1)] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Also runs that stay on their own version of the code.")] = False,
    concurrency: Annotated[int, typer.Option(help="How many histories are in memory at a time.", min=1, max=64)] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Tell all of it as one JSON object.")] = False,
    app: Target = None,
    config: Config = None,
) -> None:
    """Replays recorded runs against the code of today, and fails (status 1) if one would go another way. Writes nothing."""
    from mcp_agent.cli.replaying import Asked, replayed  # noqa: PLC0415

    asked = Asked(tuple(files or ()), from_server, tuple(workflow or ()), since, state, limit, pinned, concurrency, as_json)
    if not replayed(asked, lambda: load(app, config)[0]):
        raise typer.Exit(1)


@cli.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="The folder to write to; what is there already is left alone.")],
    workflow: Annotated[list[str] | None, typer.Option(help="Only its runs; may be given several times.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs that ended in that time, such as `30d`.")] = None,
    app: Target = None,
    config: Config = None,
) -> None:
    """Writes closed runs to files: what they were, in clear, and their histories as they are stored."""
    loaded, _ = load(app, config)
    from mcp_agent.cli.exporting import exported  # noqa: PLC0415

    typer.echo(asyncio.run(exported(loaded, to, tuple(workflow or ()), since)))


@cli.command("codec-server")
def codec_server(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    config: Config = None,
) -> None:
    """Decrypts for Temporal's web page and command line (its remote codec protocol)."""
    settings = load_settings(config)
    configure(settings.logger, secrets_of(settings))
    from mcp_agent.cli.storing import serve_codec  # noqa: PLC0415

    asked = settings.temporal.codec_server
    asyncio.run(serve_codec(settings, host or asked.host, asked.port if port is None else port))


@storage.command()
def gc(
    older_than: Annotated[
        str, typer.Option(help="Keep what was stored or used since, such as `30d`, `36h`; at least 1h.")
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    config: Config = None,
) -> None:
    """Removes large values that no run needs which Temporal still has. Reads every run's history."""
    settings = load_settings(config)
    configure(settings.logger, secrets_of(settings))
    from mcp_agent.cli.storing import collect_unneeded  # noqa: PLC0415

    typer.echo(asyncio.run(collect_unneeded(settings, older_than, dry_run=dry_run)))


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


def _names(listed: str | None, settings: Settings) -> Literal[True] | tuple[str, ...]:
    """The queues to serve, True for all. Raises ConfigError for one that is not configured."""
    if listed is None:
        return True
    names = tuple(name.strip() for name in listed.split(","))
    problem = unknown_queue(names, settings.temporal.queues)
    if problem is not None:
        raise ConfigError(f"`--queues {listed}`: {problem}")
    return names
