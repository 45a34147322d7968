"""Workers are replaced under load, and everything is restarted while runs wait for people."""

import os
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from mcp import Client

from tests.cluster.clients import Runs
from tests.cluster.cluster import Cluster
from tests.cluster.notes import Notes
from tests.cluster.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(2_400)]

CALLERS = 50
WAITING = int(os.environ.get("CLUSTER_WAITING", "2000"))
AT_ONCE = 50


@pytest.fixture
def processes(cluster: Cluster, notes: Notes, tmp_path: Path) -> Generator[Processes, None, None]:
    made = Processes(tmp_path, cluster)
    yield made
    made.kill()


@pytest.mark.promise("issue 7: a rolling restart of three worker processes under load: no run fails, no wait errors")
async def test_three_workers_are_replaced_under_load(cluster: Cluster, processes: Processes, notes: Notes):
    await processes.work(3)
    async with Client(await processes.serve()) as client:
        runs, replaced = Runs(client, "rolling"), anyio.Event()
        async with anyio.create_task_group() as all_of_them:
            runs.keep_beginning(all_of_them, CALLERS, replaced)
            for worker in list(processes.workers):
                await processes.replace(worker)
            replaced.set()
        runs.check()
    await notes.check(cluster, runs.steps)


@pytest.mark.promise("issue 7: 2,000 runs wait for a person, everything is restarted, all are answered")
async def test_everything_is_restarted_while_runs_wait_for_people(cluster: Cluster, processes: Processes, notes: Notes):
    await processes.work(2)
    async with Client(await processes.serve()) as client:
        runs = Runs(client, "patient")
        await runs.have_waiting(WAITING, AT_ONCE)
    processes.kill()
    cluster.kill()
    await cluster.restart()
    await processes.work(2)
    async with Client(await processes.serve()) as client:
        await runs.answer_all(client, AT_ONCE)
    runs.check()
    await notes.check(cluster, runs.steps)
