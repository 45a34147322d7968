"""A research brief: a question is answered from a folder of documents, and a person has the last word."""

import asyncio
from typing import Literal

from pydantic import BaseModel

from activities.briefs import store_brief
from mcp_agent.agents.agent import Agent
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from server.app import app

SPECIALISTS = {
    "facts": "You check facts. State what the notes establish, each with its source file.",
    "risks": "You look for risks. State what could go wrong and what the notes leave open.",
    "options": "You look for options. State what could be done, with the strongest reason for and against each.",
}
MAX_ROUNDS = 5


class Decision(BaseModel):
    """What a person answers when a draft is put to them."""

    decision: Literal["approve", "change"] = "approve"
    comments: str = ""


class Brief(BaseModel):
    """A finished brief, and where it was stored."""

    question: str
    text: str
    rounds: int
    stored_at: str


@app.workflow
class ResearchBrief(Workflow[Brief]):
    """Answers a question from the documents folder as a brief.

    One agent reads the documents, three specialists work on its notes in parallel, an editor merges them, a person approves
    the draft or asks for changes, and the approved brief is stored.
    """

    @app.workflow_run
    async def run(self, question: str) -> WorkflowResult[Brief]:
        report = app.context.report_progress
        report(0, 4, "reading the documents")
        notes = await self._read(question)
        report(1, 4, "three specialists are at work")
        views = await asyncio.gather(*(self._view(name, question, notes) for name in SPECIALISTS))
        report(2, 4, "the editor merges")
        editor = Agent("editor", "You are an editor. Merge the views into one brief of a page, and keep the sources.")
        llm = await editor.attach_llm(OpenAIAugmentedLLM)
        draft = await llm.generate_str("\n\n".join([f"Question: {question}", *views]))

        for round_ in range(1, MAX_ROUNDS + 1):
            report(3, 4, "waiting for a person")
            decision = await self._ask(draft)
            if decision.decision == "approve":
                stored_at = await store_brief(self.id, question, draft)
                report(4, 4, "stored")
                return WorkflowResult(value=Brief(question=question, text=draft, rounds=round_, stored_at=stored_at))
            draft = await llm.generate_str(f"Change the brief: {decision.comments}")
        return WorkflowResult(error=f"No draft was approved in {MAX_ROUNDS} rounds; the last one was:\n\n{draft}")

    async def _read(self, question: str) -> str:
        reader = Agent(
            "reader",
            "You read documents. List the files, read those that matter, and note what answers the question, with file names.",
            server_names=["documents"],
        )
        async with reader:
            llm = await reader.attach_llm(OpenAIAugmentedLLM)
            return await llm.generate_str(f"Take notes on: {question}")

    async def _view(self, name: str, question: str, notes: str) -> str:
        specialist = Agent(name, SPECIALISTS[name])
        llm = await specialist.attach_llm(OpenAIAugmentedLLM)
        view = await llm.generate_str(f"Question: {question}\n\nNotes:\n{notes}")
        return f"{name.title()}:\n{view}"

    async def _ask(self, draft: str) -> Decision:
        question = Signal(
            name="review",
            payload_type=Decision,
            message=f"Approve this brief, or ask for changes?\n\n{draft}",
        )
        return await app.context.executor.signal_bus.wait_for_signal(question)
