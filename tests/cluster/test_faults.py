"""Nodes and the database are killed while clients have calls open: nobody is told of a failure, and nothing is lost."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.cluster.clients import Runs, served
from tests.cluster.cluster import Cluster
from tests.cluster.notes import Notes
from tests.support import until
from tests.tcp_balancer import balanced

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

NODES = 2
COUNTING = 30
ASKING = 20
WITHIN = 300.0


Fault = Callable[[Cluster], Awaitable[None]]


async def a_node(cluster: Cluster) -> None:
    cluster.nodes[1].kill()
    await anyio.sleep(5)
    cluster.nodes[1].wanted = True


async def both_nodes(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.kill()
    await anyio.sleep(3)
    for node in cluster.nodes:
        node.wanted = True


async def the_database_for_3_s(cluster: Cluster) -> None:
    cluster.postgres.kill()
    await anyio.sleep(3)
    await anyio.to_thread.run_sync(cluster.postgres.start)


async def the_database_for_30_s(cluster: Cluster) -> None:
    cluster.postgres.kill()
    await anyio.sleep(30)
    await anyio.to_thread.run_sync(cluster.postgres.start)


@pytest.mark.promise("issue 7: kill -9 of nodes and the database: no client is told of a failure, no run is lost or doubled")
@pytest.mark.parametrize("fault", [a_node, both_nodes, the_database_for_3_s, the_database_for_30_s])
async def test_killing_goes_unnoticed(cluster: Cluster, notes: Notes, fault: Fault):
    async def under_way() -> bool:
        return len(notes.lines) > COUNTING

    await cluster.until_well()
    async with (
        balanced([node.address for node in cluster.nodes]) as balancer,
        cluster.supervised(),
        served(cluster.temporal(balancer.address)) as client,
    ):
        runs = Runs(client, fault.__name__)
        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as all_of_them:
                runs.begin(all_of_them, COUNTING, ASKING)
                await until(under_way)
                await fault(cluster)
        runs.check()
    await notes.check(cluster, runs.steps)
