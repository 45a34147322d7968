"""A code block of the specification, word for word; only imports are added around it."""
# pyright: basic

from tests.specification.quick_start_worker_as_written import MyWorkflow


# Section "Workflow Replay"

from temporalio.worker import Replayer
import json

async def debug_workflow():
    # Download history from Temporal UI or API
    with open("workflow_history.json") as f:
        history = json.load(f)

    # Create replayer with your workflow definitions
    replayer = Replayer(workflows=[MyWorkflow])

    # Replay workflow to debug
    try:
        await replayer.replay_workflow(history)
        print("Replay successful - workflow logic is correct")
    except Exception as e:
        print(f"Replay failed - logic error: {e}")
