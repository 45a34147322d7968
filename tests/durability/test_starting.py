"""Clients are served while Temporal starts, and when it cannot start."""

import pytest
from mcp import Client

from tests.support import Desk, call, refusal

pytestmark = pytest.mark.anyio


def use_program(desk: Desk, text: str, *, budget: float) -> None:
    """Has the desk start Temporal by a script."""
    program = desk.folder / "temporal"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    config = desk.folder / "mcp_agent.config.yaml"
    text = config.read_text().replace(f"binary: {desk.binary}", f"binary: {program}")
    config.write_text(text.replace("wait_budget_seconds: 20", f"wait_budget_seconds: {budget}"))


@pytest.mark.promise("fault: initialize and tools/list answer while Temporal is still starting")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_while_temporal_starts(desk: Desk, mode):
    use_program(desk, f'while [ ! -e "{desk.folder}/gate-start" ]; do sleep 0.05; done; exec "{desk.binary}" "$@"', budget=0.5)
    async with Client(desk.stdio(), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "workflows-Passage-run" in names
        arguments = {"run_parameters": {"name": "a"}, "workflow_id": "a", "wait_seconds": 0}
        told = await refusal(client, "workflows-Quick-run", **arguments)
        assert told["code"] == "engine_starting"
        assert told["retryable"]
        desk.open_gate("start")
        while True:  # each call waits within its budget
            result = await client.call_tool("workflows-Quick-run", arguments)
            if not result.is_error:
                break
            assert (result.structured_content or {})["code"] == "engine_starting"
        assert (await call(client, "workflows-Quick-get_status", run_id="Quick.a"))["run_id"] == "Quick.a"
        await call(client, "workflows-Quick-cancel", run_id="Quick.a")


@pytest.mark.promise("fault: when Temporal cannot start, the first call says engine_unavailable with the reason")
async def test_a_temporal_that_cannot_start_is_told_on_the_first_call(desk: Desk):
    use_program(desk, 'echo "no such luck" >&2; exit 1', budget=20)
    async with Client(desk.stdio()) as client:
        assert (await client.list_tools()).tools
        told = await refusal(client, "workflows-Quick-run", run_parameters={"name": "a"})
        assert told["code"] == "engine_unavailable"
        assert told["retryable"]
        assert "no such luck" in told["message"]


async def test_a_missing_program_is_told_on_the_first_call(desk: Desk):
    config = desk.folder / "mcp_agent.config.yaml"
    config.write_text(config.read_text().replace(str(desk.binary), str(desk.folder / "nowhere")))
    async with Client(desk.stdio()) as client:
        told = await refusal(client, "workflows-Quick-run", run_parameters={"name": "a"})
        assert told["code"] == "engine_unavailable"
        assert "nowhere" in told["message"]
