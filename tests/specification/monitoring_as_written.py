"""A code block of the specification, word for word; only imports and what it calls and does not show are added around it."""
# pyright: basic

import time

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from tests.specification.adding import method_of

app = MCPApp(name="monitoring")


# Section "Monitoring and Observability"

# Add custom metrics
from temporalio.runtime import Runtime, TelemetryConfig, PrometheusConfig

# Configure Prometheus metrics
runtime = Runtime(
    telemetry=TelemetryConfig(
        metrics=PrometheusConfig(bind_address="0.0.0.0:9090")
    )
)

# Track custom metrics in workflows
@app.workflow
class MetricWorkflow(Workflow[str]):
    @app.workflow_run
    async def run(self, input: str) -> WorkflowResult[str]:
        start_time = time.time()

        # Your workflow logic
        result = await self.process(input)

        # Record metrics
        duration = time.time() - start_time
        app.context.metrics.record("workflow_duration", duration, {
            "workflow": "MetricWorkflow",
            "status": "success"
        })

        return WorkflowResult(value=result)


@method_of(MetricWorkflow)
async def process(self, input: str) -> str:
    await workflow.sleep(0.2)
    return input.upper()
