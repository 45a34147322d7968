"""`mcp-agent deployment`: which version of the app's code gets the runs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from mcp_agent.app import MCPApp
from mcp_agent.cli.loading import Config, Target, age, load
from mcp_agent.errors import ConfigError

deployment = typer.Typer(no_args_is_help=True, help="Which version of the app's code gets the runs.")

AsJson = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]
Idle = Annotated[bool, typer.Option("--without-workers", help="Also if no worker of that version asks for work.")]


@deployment.command()
def show(as_json: AsJson = False, app: Target = None, config: Config = None) -> None:
    """Lists the versions: which gets new runs, which has runs to end, and which may go."""
    _tell(_on(load(app, config)[0], lambda deployments: deployments.show()), as_json)


@deployment.command()
def promote(
    build_id: Annotated[str | None, typer.Argument(help="The version; that of this configuration by default.")] = None,
    percentage: Annotated[float | None, typer.Option(help="A share of the runs only, in percent.", min=0.01, max=100)] = None,
    without_workers: Idle = False,
    as_json: AsJson = False,
    app: Target = None,
    config: Config = None,
) -> None:
    """Has all new runs, and those that are not pinned, go to a version, or a share of them."""
    loaded = load(app, config)[0]
    from mcp_agent.executor.temporal.versioning import own_build  # noqa: PLC0415 - as in `_on`

    chosen = build_id or own_build(loaded)
    _tell(_on(loaded, lambda deployments: deployments.promote(chosen, percentage, idle=without_workers)), as_json)


@deployment.command()
def rollback(without_workers: Idle = False, as_json: AsJson = False, app: Target = None, config: Config = None) -> None:
    """Ends the share of a ramping version; where there is none, makes the version current that was it before."""
    _tell(_on(load(app, config)[0], lambda deployments: deployments.rollback(idle=without_workers)), as_json)


@deployment.command()
def drained(
    build_id: Annotated[str, typer.Argument(help="The version.")],
    wait: Annotated[str | None, typer.Option(help="How long to wait for it, such as `90m`, `12h`.")] = None,
    app: Target = None,
    config: Config = None,
) -> None:
    """Says whether the workers of a version may end; fails (status 1) while runs need them."""
    longest = timedelta() if wait is None else age("--wait", wait)
    version = _on(load(app, config)[0], lambda deployments: deployments.drained(build_id, longest))
    typer.echo(f"version {build_id}: {_may_end(version)}")
    if not version.needed_by_none:
        raise typer.Exit(1)


def _on(app: MCPApp, act: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `act` gives of the app's versions. Raises ConfigError where workers have none."""
    # Imported late: other commands do without the Temporal engine.
    from mcp_agent.executor.temporal.connection import open_connection  # noqa: PLC0415
    from mcp_agent.executor.temporal.deployments import Deployments  # noqa: PLC0415
    from mcp_agent.executor.temporal.versioning import deployment_name  # noqa: PLC0415

    if app.settings.execution_engine != "temporal":
        raise ConfigError("Runs in the server's own process have no versions: set `execution_engine: temporal`.")
    if app.settings.temporal.versioning is None:
        raise ConfigError("Workers of this configuration have no versions: set `temporal.worker_versioning`.")

    async def acted() -> Any:
        async with open_connection(app, writes=False) as connection:
            name = deployment_name(app, connection.task_queue)
            return await act(Deployments(connection.client, connection.task_queue, name))

    return asyncio.run(acted())


def _tell(state: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(state), indent=2, default=lambda moment: moment.isoformat()))
        return
    typer.echo(f"deployment {state.name}, task queue {state.task_queue}")
    for version in state.versions:
        share = f" {version.percentage:g} %" if version.percentage is not None else ""
        workers = f"{version.workers} worker{'' if version.workers == 1 else 's'}"
        typer.echo(f"  {version.build_id}  {version.status}{share}  {workers}  {_may_end(version)}")
    if state.current is None:
        typer.echo("No version is current, so no run goes on: `mcp-agent deployment promote`.")


def _may_end(version: Any) -> str:
    runs = f"{version.pinned_runs} pinned run{'' if version.pinned_runs == 1 else 's'} under way"
    return {
        "current": f"gets the runs; {runs}",
        "ramping": f"gets a share of the runs; {runs}",
        "draining": f"{runs}: its workers must go on" if version.pinned_runs else "went out of service just now: ask again",
        "drained": "no run needs it: its workers may end",
        "unused": "never got a run",
    }[version.status]
