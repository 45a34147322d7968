"""The database refuses writes, and reports writes as timed out that were done: nobody is told of it, nothing is done anew."""

import anyio
import pytest

from tests.cluster.clients import Runs, served
from tests.cluster.cluster import Cluster
from tests.cluster.notes import Notes

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

COUNTING = 30
ASKING = 20
WITHIN = 300.0
REFUSED = {"Timeout": 0.01, "Unavailable": 0.01, "ResourceExhausted": 0.01}
WRITES = {  # by method of the server's store: how often it fails, and how
    "CreateWorkflowExecution": {**REFUSED, "ExecuteAndTimeout": 0.5},
    "UpdateWorkflowExecution": {**REFUSED, "ExecuteAndTimeout": 0.03},
    "AppendHistoryNodes": REFUSED,
}


@pytest.mark.promise("issue 7: writes fail, or seem to: no client is told of a failure, no run is lost or doubled")
async def test_writes_that_fail_or_seem_to_go_unnoticed(cluster: Cluster, notes: Notes):
    async with cluster.failing(WRITES), served(cluster.temporal()) as client:
        runs = Runs(client, "writes")
        with anyio.fail_after(WITHIN):
            async with anyio.create_task_group() as all_of_them:
                runs.begin(all_of_them, COUNTING, ASKING)
        runs.check()
    await notes.check(cluster, runs.steps)
