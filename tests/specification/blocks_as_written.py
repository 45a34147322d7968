"""Code blocks of the specification, word for word; only imports and what a block calls and does not show are added around them.

The first block makes the app of the others.
"""
# pyright: basic

import asyncio
from datetime import UTC, datetime, timedelta

from mcp_agent import workflow
from tests.specification.adding import method_of


# Section "Workflow Definition"

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.agents.agent import Agent
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM

app = MCPApp(name="temporal_agent")

@app.workflow
class DurableWorkflow(Workflow[dict]):
    """A durable workflow that can survive failures."""

    @app.workflow_run
    async def run(self, request: dict) -> WorkflowResult[dict]:
        # This workflow is durable - it will resume from
        # where it left off if the worker crashes

        agent = Agent(
            name="analyst",
            instruction="Analyze the provided data thoroughly.",
            server_names=["fetch", "filesystem"]
        )

        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)

            # Each step is automatically checkpointed
            step1 = await llm.generate_str(f"Analyze: {request['data']}")
            step2 = await llm.generate_str(f"Summarize findings: {step1}")
            step3 = await llm.generate_str(f"Generate report: {step2}")

            return WorkflowResult(value={
                "analysis": step1,
                "summary": step2,
                "report": step3
            })


# Section "Benefits of Temporal Architecture"

# This workflow will survive any infrastructure failure
@app.workflow
class ResilientWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, data: dict) -> WorkflowResult[dict]:
        # Step 1: Process data (checkpointed)
        result1 = await self.process_step_1(data)

        # Step 2: Validate results (checkpointed)
        result2 = await self.validate_step_2(result1)

        # Step 3: Finalize (checkpointed)
        # If worker crashes here, it will resume from this point
        result3 = await self.finalize_step_3(result2)

        return WorkflowResult(value=result3)


@method_of(ResilientWorkflow)
async def process_step_1(self, data: dict) -> dict:
    return {**data, "processed": True}


@method_of(ResilientWorkflow)
async def validate_step_2(self, data: dict) -> dict:
    return {**data, "validated": True}


@method_of(ResilientWorkflow)
async def finalize_step_3(self, data: dict) -> dict:
    return {**data, "final": True}


# Section "Automatic Retries & Exponential Backoff"

from temporalio.common import RetryPolicy
from datetime import timedelta

@app.workflow
class RetryWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, input: str) -> WorkflowResult[str]:
        # Configure retry policy for this activity
        retry_policy = RetryPolicy(
            initial_interval=timedelta(seconds=1),
            maximum_interval=timedelta(minutes=5),
            backoff_coefficient=2.0,
            maximum_attempts=10,
            non_retryable_error_types=["ValidationError"]
        )

        # This will automatically retry on failure
        result = await workflow.execute_activity(
            self.unreliable_activity,
            input,
            start_to_close_timeout=timedelta(minutes=5),
            retry_policy=retry_policy
        )

        return WorkflowResult(value=result)

    async def unreliable_activity(self, data: str) -> str:
        """Activity that might fail and needs retries."""
        # Simulate unreliable external API call
        agent = Agent(name="api_caller", server_names=["http"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"Process via API: {data}")


# Section "Activity vs Workflow Distinction"

@app.workflow
class ProperWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, input: dict) -> WorkflowResult[dict]:
        # ✅ Workflow: Pure orchestration logic
        if input.get("requires_validation"):
            # ✅ Call activity for external operations
            validated = await workflow.execute_activity(
                self.validate_data_activity,
                input,
                start_to_close_timeout=timedelta(minutes=2)
            )

            # ✅ Workflow: Decision making based on results
            if validated.get("is_valid"):
                return await self.process_valid_data(validated)
            else:
                return await self.handle_invalid_data(validated)

        return WorkflowResult(value=input)

    async def validate_data_activity(self, data: dict) -> dict:
        """❌ Activity: Non-deterministic operations allowed here."""
        agent = Agent(name="validator", server_names=["database", "api"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)

            # ✅ External I/O operations in activities
            validation_result = await llm.generate_str(
                f"Validate this data against external service: {data}"
            )

            return {"is_valid": "valid" in validation_result.lower(), "result": validation_result}


@method_of(ProperWorkflow)
async def process_valid_data(self, data: dict) -> WorkflowResult[dict]:
    return WorkflowResult(value={"accepted": data["result"]})


@method_of(ProperWorkflow)
async def handle_invalid_data(self, data: dict) -> WorkflowResult[dict]:
    return WorkflowResult(error="not valid")


# Section "Workflow Versioning"

@app.workflow
class VersionedWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, data: dict) -> WorkflowResult[dict]:
        # Use versioning for backward compatibility
        version = workflow.get_version("data_processing_logic", 1, 3)

        if version == 1:
            # Original processing logic
            result = await self.process_v1(data)
        elif version == 2:
            # Enhanced processing with validation
            validated = await self.validate_data(data)
            result = await self.process_v2(validated)
        else:  # version == 3
            # Latest version with advanced features
            validated = await self.validate_data_v2(data)
            enriched = await self.enrich_data(validated)
            result = await self.process_v3(enriched)

        # Common post-processing (no versioning needed)
        final_result = await self.post_process(result)

        return WorkflowResult(value=final_result)

    async def process_v1(self, data: dict) -> dict:
        """Original processing logic."""
        agent = Agent(name="processor_v1", server_names=["filesystem"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"Process v1: {data}")

    async def process_v2(self, data: dict) -> dict:
        """Enhanced processing with validation."""
        agent = Agent(name="processor_v2", server_names=["filesystem", "validation"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"Process v2 with validation: {data}")

    async def process_v3(self, data: dict) -> dict:
        """Latest version with advanced features."""
        agent = Agent(name="processor_v3", server_names=["filesystem", "validation", "ml"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"Process v3 with ML enhancement: {data}")


@method_of(VersionedWorkflow)
async def validate_data(self, data: dict) -> dict:
    return data


@method_of(VersionedWorkflow)
async def validate_data_v2(self, data: dict) -> dict:
    return data


@method_of(VersionedWorkflow)
async def enrich_data(self, data: dict) -> dict:
    return {**data, "enriched": True}


@method_of(VersionedWorkflow)
async def post_process(self, result: str) -> dict:
    return {"final": result}


# Section "Workflow Timeouts and Cancellation"

from datetime import timedelta

@app.workflow
class TimeoutWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, data: dict) -> WorkflowResult[dict]:
        try:
            # Set workflow-level timeout
            async with workflow.timeout(timedelta(hours=2)):
                # Step 1: Quick processing (30 seconds max)
                result1 = await workflow.execute_activity(
                    self.quick_process,
                    data,
                    start_to_close_timeout=timedelta(seconds=30)
                )

                # Step 2: Medium processing (5 minutes max)
                result2 = await workflow.execute_activity(
                    self.medium_process,
                    result1,
                    start_to_close_timeout=timedelta(minutes=5),
                    heartbeat_timeout=timedelta(seconds=30)  # For long-running activities
                )

                # Step 3: Long processing (1 hour max)
                result3 = await workflow.execute_activity(
                    self.long_process,
                    result2,
                    start_to_close_timeout=timedelta(hours=1),
                    schedule_to_close_timeout=timedelta(hours=1, minutes=30)
                )

                return WorkflowResult(value=result3)

        except workflow.TimeoutError:
            # Handle timeout gracefully
            return WorkflowResult(
                value=None,
                error="Workflow timed out after 2 hours"
            )
        except workflow.CancelledError:
            # Handle cancellation
            return WorkflowResult(
                value=None,
                error="Workflow was cancelled"
            )

    async def long_process(self, data: dict) -> dict:
        """Long-running activity with heartbeat."""
        agent = Agent(name="long_processor", server_names=["ml", "database"])
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)

            # Send heartbeats for long operations
            for i in range(60):  # Simulate 1-hour process
                # Send heartbeat every minute
                workflow.heartbeat(f"Processing step {i+1}/60")

                # Do some processing
                partial_result = await llm.generate_str(
                    f"Process chunk {i}: {data}"
                )

                # Sleep for 1 minute (simulated)
                await asyncio.sleep(60)

            return {"processed": True, "data": data}


@method_of(TimeoutWorkflow)
async def quick_process(self, data: dict) -> dict:
    return {**data, "quick": True}


@method_of(TimeoutWorkflow)
async def medium_process(self, data: dict) -> dict:
    return {**data, "medium": True}


# Section "Signals for Human-in-the-Loop"

from mcp_agent.executor.temporal import Signal

@app.workflow
class ApprovalWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, document: str) -> WorkflowResult[str]:
        # Process document with AI
        agent = Agent(
            name="processor",
            instruction="Process and improve the document.",
            server_names=["filesystem"]
        )

        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            processed = await llm.generate_str(f"Improve this document: {document}")

        # Wait for human approval
        print(f"Waiting for approval. Workflow ID: {self.id}, Run ID: {self.run_id}")

        await app.context.executor.signal_bus.wait_for_signal(
            Signal(name="approve", workflow_id=self.id, run_id=self.run_id)
        )

        # Continue after approval
        print("Approval received! Finalizing document...")

        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            finalized = await llm.generate_str(f"Finalize approved document: {processed}")

        return WorkflowResult(value=finalized)


# Section "Signals for Human-in-the-Loop"


async def send_approval():
    # Send approval signal
    await app.context.executor.signal_bus.send_signal(
        Signal(
            name="approve",
            workflow_id="ApprovalWorkflow",
            run_id="run_abc123",
            payload={"approved_by": "john.doe", "comments": "Looks good!"}
        )
    )


# Section "Long-Running Workflows"

import asyncio
from datetime import timedelta

@app.workflow
class MonitoringWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, config: dict) -> WorkflowResult[dict]:
        monitoring_results = []

        # Run for 30 days, checking every hour
        for day in range(30):
            for hour in range(24):
                # Durable sleep - survives restarts
                await asyncio.sleep(3600)  # 1 hour

                # Check system status
                agent = Agent(
                    name="monitor",
                    instruction="Check system health and report issues.",
                    server_names=["fetch"]
                )

                async with agent:
                    llm = await agent.attach_llm(OpenAIAugmentedLLM)
                    status = await llm.generate_str(f"Check status of: {config['systems']}")

                    monitoring_results.append({
                        "day": day,
                        "hour": hour,
                        "status": status
                    })

                    # Alert if issues found
                    if "critical" in status.lower():
                        await self.send_alert(status)

        return WorkflowResult(value={"monitoring_complete": monitoring_results})


ALERTS: list[str] = []


@app.workflow_task(name="specification.alert")
async def alert(status: str) -> None:
    ALERTS.append(status)


@method_of(MonitoringWorkflow)
async def send_alert(self, status: str) -> None:
    await alert(status)


# Section "Parallel Agent Execution"

import asyncio

@app.workflow
class ParallelAnalysisWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, document: str) -> WorkflowResult[dict]:
        # Define parallel tasks
        async def analyze_sentiment():
            agent = Agent(name="sentiment", instruction="Analyze sentiment.")
            async with agent:
                llm = await agent.attach_llm(OpenAIAugmentedLLM)
                return await llm.generate_str(f"Analyze sentiment: {document}")

        async def extract_entities():
            agent = Agent(name="entities", instruction="Extract entities.")
            async with agent:
                llm = await agent.attach_llm(OpenAIAugmentedLLM)
                return await llm.generate_str(f"Extract entities: {document}")

        async def summarize():
            agent = Agent(name="summarizer", instruction="Summarize content.")
            async with agent:
                llm = await agent.attach_llm(OpenAIAugmentedLLM)
                return await llm.generate_str(f"Summarize: {document}")

        # Execute in parallel - Temporal handles orchestration
        sentiment, entities, summary = await asyncio.gather(
            analyze_sentiment(),
            extract_entities(),
            summarize()
        )

        return WorkflowResult(value={
            "sentiment": sentiment,
            "entities": entities,
            "summary": summary
        })


# Section "Workflow Composition"

@app.workflow
class DataPipelineWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, source: str) -> WorkflowResult[dict]:
        # Step 1: Data extraction workflow
        extraction = DataExtractionWorkflow()
        data = await extraction.run(source)

        # Step 2: Data validation workflow
        validation = DataValidationWorkflow()
        validated = await validation.run(data.value)

        # Step 3: Data processing workflow
        processing = DataProcessingWorkflow()
        processed = await processing.run(validated.value)

        # Step 4: Report generation workflow
        reporting = ReportGenerationWorkflow()
        report = await reporting.run(processed.value)

        return WorkflowResult(value={
            "data": data.value,
            "validation": validated.value,
            "processed": processed.value,
            "report": report.value
        })


def _stage(name: str):
    class Stage(Workflow[dict]):
        @app.workflow_run
        async def run(self, data) -> WorkflowResult[dict]:
            return WorkflowResult(value={"stage": name, "of": data, "run": self.id})

    Stage.__name__ = Stage.__qualname__ = name
    return Stage


DataExtractionWorkflow = _stage("DataExtractionWorkflow")
DataValidationWorkflow = _stage("DataValidationWorkflow")
DataProcessingWorkflow = _stage("DataProcessingWorkflow")
ReportGenerationWorkflow = _stage("ReportGenerationWorkflow")


# Section "Error Handling with Compensations"

@app.workflow
class OrderProcessingWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, order: dict) -> WorkflowResult[dict]:
        compensations = []

        try:
            # Step 1: Reserve inventory
            inventory_agent = Agent(name="inventory", server_names=["database"])
            async with inventory_agent:
                llm = await inventory_agent.attach_llm(OpenAIAugmentedLLM)
                reservation = await llm.generate_str(f"Reserve items: {order['items']}")
                compensations.append(("inventory", reservation))

            # Step 2: Process payment
            payment_agent = Agent(name="payment", server_names=["payment_api"])
            async with payment_agent:
                llm = await payment_agent.attach_llm(OpenAIAugmentedLLM)
                payment = await llm.generate_str(f"Process payment: {order['total']}")
                compensations.append(("payment", payment))

            # Step 3: Ship order
            shipping_agent = Agent(name="shipping", server_names=["shipping_api"])
            async with shipping_agent:
                llm = await shipping_agent.attach_llm(OpenAIAugmentedLLM)
                shipment = await llm.generate_str(f"Ship to: {order['address']}")

            return WorkflowResult(value={
                "success": True,
                "reservation": reservation,
                "payment": payment,
                "shipment": shipment
            })

        except Exception as e:
            # Run compensations in reverse order
            for service, data in reversed(compensations):
                await self.compensate(service, data)

            return WorkflowResult(
                value=None,
                error=f"Order failed: {e}. Compensations executed."
            )

    async def compensate(self, service: str, data: str):
        """Execute compensation for failed step."""
        agent = Agent(name=f"{service}_compensation")
        async with agent:
            llm = await agent.attach_llm(OpenAIAugmentedLLM)
            await llm.generate_str(f"Compensate {service}: {data}")


# Section "Polling External Systems"

@app.workflow
class PollingWorkflow(Workflow[dict]):
    @app.workflow_run
    async def run(self, job_id: str) -> WorkflowResult[dict]:
        max_attempts = 100

        for attempt in range(max_attempts):
            # Check job status
            agent = Agent(name="checker", server_names=["api"])
            async with agent:
                llm = await agent.attach_llm(OpenAIAugmentedLLM)
                status = await llm.generate_str(f"Check job status: {job_id}")

            if "completed" in status:
                return WorkflowResult(value={"status": "completed", "result": status})

            if "failed" in status:
                return WorkflowResult(value=None, error=f"Job failed: {status}")

            # Wait before next poll (durable)
            await asyncio.sleep(60)  # 1 minute

        return WorkflowResult(value=None, error="Job timed out")


# Section "Scheduled Workflows"

@app.workflow
class ScheduledWorkflow(Workflow[None]):
    @app.workflow_run
    async def run(self, schedule: dict) -> WorkflowResult[None]:
        """Run daily at specified time."""
        while True:
            # Wait until next scheduled time
            next_run = self.calculate_next_run(schedule)
            await workflow.sleep_until(next_run)

            # Execute scheduled task
            await self.execute_scheduled_task()

            # Continue as new to prevent history growth
            workflow.continue_as_new(schedule)


@method_of(ScheduledWorkflow)
def calculate_next_run(self, schedule: dict) -> datetime:
    """In `seconds` in tests; else daily, at `hour` of the day."""
    now = workflow.now()
    if "seconds" in schedule:
        return now + timedelta(seconds=schedule["seconds"])
    today = datetime(now.year, now.month, now.day, schedule["hour"], tzinfo=UTC)
    return today if today > now else today + timedelta(days=1)


SCHEDULED: list[str] = []


@app.workflow_task(name="specification.scheduled")
async def scheduled_task(run_id: str) -> None:
    SCHEDULED.append(run_id)


@method_of(ScheduledWorkflow)
async def execute_scheduled_task(self) -> None:
    await scheduled_task(self.id)
