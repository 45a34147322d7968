"""What agents do, alike on both engines."""

from typing import Any

import pytest

from mcp_agent.errors import DefinitionError, RunFailedError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, PendingInput
from tests.behaviour import agents_desk
from tests.behaviour.agents_desk import Agent, doubled, weather
from tests.support import until

pytestmark = pytest.mark.anyio


async def told(executor: Executor, workflow: str, *args: Any) -> Any:
    handle = await executor.start_workflow(workflow, *args)
    return (await handle.result()).value


async def asked(executor: Executor, run_id: str, number: int) -> list[PendingInput]:
    async def there() -> list[PendingInput]:
        state = await executor.describe_run(run_id)
        assert not state.closed, state.error
        return list(state.pending_inputs) if len(state.pending_inputs) >= number else []

    return await until(there)


class TestFunctions:
    @pytest.mark.promise("issue: local Python functions as tools, each an activity, typed schema")
    async def test_a_function_is_called_in_a_step_with_typed_arguments(self, executor: Executor):
        agents_desk.CALLS.clear()
        assert await told(executor, "Talks", "functions", "weather") == [
            "user: weather",
            "calls weather",
            "calls weather",
            'result: {"city":"Oslo","degrees":21.5,"sky":"clear"}',
            'result: {"city":"Rome","degrees":21.5,"sky":"clear"}',
            "assistant: done",
        ]
        assert sorted(agents_desk.CALLS) == ["Oslo 1 mcp_agent.agent.call_function", "Rome 3 mcp_agent.agent.call_function"]

    async def test_tasks_and_methods_are_steps_of_their_own(self, executor: Executor):
        assert (await told(executor, "Talks", "functions", "task"))[3:] == ["result: 42", "result: 15", "assistant: done"]

    async def test_what_a_function_draws_reaches_the_model(self, executor: Executor):
        assert (await told(executor, "Talks", "functions", "picture"))[2:] == ["result: image", "assistant: done"]

    async def test_wrong_calls_are_told_to_the_model(self, executor: Executor):
        town, number, name, broken, done = (await told(executor, "Talks", "functions", "wrong"))[5:]
        assert town.startswith("error: The arguments of `weather` do not fit: ")
        assert "`city`" in town
        assert "`town`" in town
        assert "`number`: Input should be a valid integer" in number
        assert name == "error: There is no tool `doubbled`. Did you mean `doubled`?"
        assert "are no JSON object" in broken
        assert done == "assistant: done"

    async def test_what_a_function_raises_is_told_to_the_model_and_not_tried_again(self, executor: Executor):
        agents_desk.CALLS.clear()
        own, application, _ = (await told(executor, "Talks", "functions", "breaks"))[3:]
        assert own == "error: `breaks` failed (ValueError): cannot fly"
        assert application == "error: Tool `breaks` failed (Closed): not today"
        assert sorted(agents_desk.CALLS) == ["application", "fly"]

    async def test_a_result_that_is_too_large_is_told_to_the_model(self, executor: Executor):
        assert "at most 262,144 can be used" in (await told(executor, "Talks", "functions", "huge"))[2]

    async def test_a_function_is_called_with_its_decorators_and_by_name(self, executor: Executor):
        agents_desk.CALLS.clear()
        halved, squared, multiplied = (await told(executor, "Talks", "decorated"))[4:7]
        assert (halved, squared, multiplied) == ("result: 4", "result: 9", "result: 11")
        assert agents_desk.CALLS == ["decorated", "decorated"]

    def test_what_no_step_can_find_is_refused_with_what_to_do(self):
        def local(x: int) -> int:
            return x

        for function in (local, lambda x: x, [].append):
            with pytest.raises(DefinitionError, match="at the top of a module"):
                Agent("a", functions=[function])

    def test_names_that_clash_or_are_nowhere_are_refused(self):
        with pytest.raises(DefinitionError, match="two functions `weather`"):
            Agent("a", functions=[weather, weather])
        with pytest.raises(DefinitionError, match=r"names `waether`. Did you mean `weather`"):
            Agent("a", functions=[weather], approval={"waether": "always"})
        with pytest.raises(DefinitionError, match="use `always`, `never` or a function"):
            Agent("a", functions=[doubled], approval={"doubled": "sometimes"})  # type: ignore[dict-item]
        Agent("a", server_names=["my.shelf"], approval={"my.shelf.read": "always"})
        with pytest.raises(DefinitionError, match="give a list of names"):
            Agent("a", server_names="shelf")
        with pytest.raises(DefinitionError, match="give a list of names"):
            Agent("a", server_names=["shelf"], tool_filter={"shelf": "read"})
        with pytest.raises(DefinitionError, match="names server `shelf`"):
            Agent("a", tool_filter={"shelf": ["x"]})


class TestServers:
    async def test_a_tool_of_a_server_answers(self, executor: Executor):
        assert (await told(executor, "Talks", "shelf"))[-1] == "assistant: the words of will"

    async def test_large_results_reach_the_model_as_text_or_as_data(self, executor: Executor):
        told_all = await told(executor, "Talks", "counted")
        assert told_all[3].startswith("result: word word")
        assert told_all[4].endswith("998,999]}")
        assert told_all[5] == "assistant: read"

    @pytest.mark.promise("issue: tool filters per server")
    async def test_a_tool_that_is_filtered_out_is_not_there(self, executor: Executor):
        assert (await told(executor, "Talks", "filtered"))[2] == (
            "error: There is no tool `shelf_erase`. Did you mean `shelf_read`?"
        )

    async def test_a_filter_for_a_tool_that_there_is_not_fails_the_run(self, executor: Executor):
        with pytest.raises(RunFailedError, match="Did you mean `read`") as failed:
            await told(executor, "Talks", "wrong filter")
        assert failed.value.type == "UnknownTool"

    async def test_an_approval_for_a_tool_that_there_is_not_fails_the_run_before_it_calls_anything(self, executor: Executor):
        with pytest.raises(RunFailedError, match=r"names `shelf\.reed`\. Did you mean `shelf\.read`") as failed:
            await told(executor, "Talks", "wrong rule")
        assert failed.value.type == "UnknownTool"

    async def test_an_approval_may_be_for_a_tool_that_is_filtered_out(self, executor: Executor):
        assert (await told(executor, "Talks", "rule for hidden"))[2].startswith("error: There is no tool `shelf_erase`")

    def test_an_approval_may_name_a_tool_of_a_server_with_a_dot_in_its_name(self):
        Agent("a", server_names=["my.shelf", "my"], approval={"my.shelf.erase": "always", "my.read": "never"})
        with pytest.raises(DefinitionError, match=r"names `your.shelf.erase`"):
            Agent("a", server_names=["my.shelf"], approval={"your.shelf.erase": "always"})


class TestPeople:
    @pytest.mark.promise("issue: human_input as a tool")
    async def test_an_agent_asks_a_person_two_things_at_once(self, executor: Executor):
        handle = await executor.start_workflow("Talks", "person")
        first, second = await asked(executor, handle.id, 2)
        assert (first.kind, first.name, first.message) == ("elicitation", "human_input", "Which one?")
        await executor.answer_run(handle.id, Answer(request_id=second.request_id, payload=7))
        await executor.answer_run(handle.id, Answer(request_id=first.request_id, payload="the red one"))
        result = await handle.result()
        assert result.value[-3:] == ["result: the red one", "result: 7", "assistant: Good: the red one\n7"]

    @pytest.mark.promise("issue: tool approval asks a person through the run's mailbox")
    async def test_a_person_allows_and_declines_calls(self, executor: Executor):
        handle = await executor.start_workflow("Talks", "approved")
        deed, erase = await asked(executor, handle.id, 2)
        assert deed.kind == erase.kind == "approval"
        assert deed.message == 'Agent `approved` wants to call `shelf_read` with {"name":"deed"}. Allow it?'
        await executor.answer_run(handle.id, Answer(request_id=deed.request_id, payload={"approved": True}))
        no = {"approved": False, "reason": "keep it"}
        await executor.answer_run(handle.id, Answer(request_id=erase.request_id, payload=no))
        result = await handle.result()
        assert result.value[5:] == [
            "result: the words of letter",
            "result: 8",
            "result: the words of deed",
            "error: A person has declined this call of `shelf_erase`. The reason: keep it",
            "assistant: finished",
        ]

    async def test_a_plain_yes_is_an_answer_and_a_rule_that_fails_has_a_person_decide(self, executor: Executor):
        handle = await executor.start_workflow("Talks", "approved without a name")
        (request,) = await asked(executor, handle.id, 1)
        assert "shelf_read" in request.message
        await executor.answer_run(handle.id, Answer(request_id=request.request_id, payload=False))
        assert (await handle.result()).value[2] == "error: A person has declined this call of `shelf_read`."

    async def test_a_question_to_a_person_needs_no_approval(self, executor: Executor):
        handle = await executor.start_workflow("Talks", "person with approval")
        first, second = await asked(executor, handle.id, 2)
        assert {first.kind, second.kind} == {"elicitation"}
        await executor.cancel_run(handle.id)


class TestBudgets:
    @pytest.mark.promise("issue: per-run and per-agent budgets end with a named error and what was reached")
    @pytest.mark.parametrize("whose", ["run", "agent"])
    @pytest.mark.parametrize(
        ("limit", "amount", "text"),
        [
            ("max_tokens", 250, "300 tokens; `max_tokens` is 250"),
            ("max_tool_calls", 2, "2 tool calls and would make 1 more; `max_tool_calls` is 2"),
            ("max_cost_usd", 0.025, "0.0300 US dollars; `max_cost_usd` is 0.025"),
        ],
    )
    async def test_the_call_that_goes_over_is_the_last(
        self, executor: Executor, whose: str, limit: str, amount: float, text: str
    ):
        handle = await executor.start_workflow("Thrift", whose, limit, amount)
        result = await handle.result()
        assert result.value.startswith(f"{limit}: {'The run' if whose == 'run' else 'Agent `spender`'} has used {text}")
        assert result.metadata["reached"] == "so far 2"
        usage = result.metadata["usage"]
        assert (usage["model_calls"], usage["agents"]["spender"]["input_tokens"]) == (3, 270)
        assert usage["cost_usd"] == pytest.approx(0.03)
        assert usage["cost_source"] == "script"

    async def test_a_deadline_cancels_what_is_under_way(self, executor: Executor):
        text = await told(executor, "Thrift", "agent", "deadline", 0.5, "sleeper")
        assert text == "deadline: Agent `sleeper` has used all its time; `deadline` is 0:00:00.500000. Raise it, or ask for less."

    async def test_a_model_without_a_price_cannot_be_kept_to_a_cost(self, executor: Executor):
        text = await told(executor, "Thrift", "run", "max_cost_usd", 1, "unpriced")
        assert "a model without a known price (no price is known for `scripted`)" in text

    async def test_a_run_that_does_not_handle_it_fails_by_its_name(self, executor: Executor):
        with pytest.raises(RunFailedError, match="What was reached: so far 0") as failed:
            await told(executor, "OverBudget")
        assert failed.value.type == "BudgetExceeded"

    async def test_the_tools_that_the_last_turn_asks_for_are_not_called(self, executor: Executor):
        message, *said = await told(executor, "Impatient")
        assert message.startswith("Agent `spender` still asks for tools after 2 turns: raise `max_turns`.")
        assert said[1:] == ["assistant: so far 0", "calls doubled", "result: 2", "assistant: so far 1", "calls doubled"]


class TestStructuredAnswers:
    @pytest.mark.parametrize(
        ("agent", "type_", "value"),
        [
            ("filler", "model", "Weather city='Oslo' degrees=-3.0 sky='clear'"),
            ("fenced", "dataclass", "Pair Pair(left=1, right=2)"),
            ("lister", "list", "list [1, 2, 3]"),
            ("corrected", "model", "Weather city='Oslo' degrees=9.0 sky='clear'"),
        ],
    )
    async def test_an_answer_becomes_a_value(self, executor: Executor, agent: str, type_: str, value: str):
        assert await told(executor, "Forms", agent, type_) == value

    @pytest.mark.promise("issue: re-asked with the error at most twice, then an error that holds the last answer")
    async def test_the_third_answer_that_does_not_fit_is_the_last(self, executor: Executor):
        text = await told(executor, "Forms", "stubborn", "model")
        assert text.startswith("The answer to agent `stubborn` is no `Weather`: Invalid JSON")
        assert text.endswith("[answer 2]")


class TestConversations:
    @pytest.mark.promise("issue: compaction of long conversations as a step of the workflow")
    async def test_what_was_said_is_summed_up_when_it_becomes_long(self, executor: Executor):
        assert await told(executor, "Long", "summarise") == [
            "user: What was said before, summed up:\n\nthe summary",
            "user: question 2",
            "assistant: answer 1 to question 2",
            "user: question 3",
            "assistant: answer 1 to question 3",
        ]

    async def test_what_was_said_is_dropped_when_it_becomes_long(self, executor: Executor):
        assert await told(executor, "Long", "drop") == [
            "user: question 0",
            "user: (What was said after this was left out, up to the messages that follow.)",
            "user: question 2",
            "assistant: answer 1 to question 2",
            "user: question 3",
            "assistant: answer 1 to question 3",
        ]

    async def test_what_tools_gave_is_not_lost_when_the_model_call_after_it_fails(self, executor: Executor):
        assert await told(executor, "Interrupted") == [
            "user: go",
            "calls doubled",
            "result: 4",
            "user: and now?",
            "assistant: now",
        ]

    async def test_answers_of_one_conversation_come_one_after_the_other(self, executor: Executor):
        assert await told(executor, "Queued") == [
            "user: a",
            "assistant: turn 0: a",
            "user: b",
            "assistant: turn 1: b",
            "user: c",
            "assistant: turn 2: c",
        ]

    async def test_an_agent_that_is_made_once_counts_for_each_run_anew(self, executor: Executor):
        for _ in range(3):
            assert await told(executor, "Shared") == "done"

    async def test_a_conversation_goes_on_after_continue_as_new(self, executor: Executor):
        assert await told(executor, "Resumes") == [
            "user: first",
            "assistant: turn 0: first",
            "user: second",
            "assistant: turn 1: second",
        ]

    async def test_conversations_of_agents_of_one_name_are_apart(self, executor: Executor):
        assert await told(executor, "Crowd") == [
            "turn 0: 0",
            "turn 0: 1",
            "other: 2",
            "turn 0: 3",
            "turn 0: again",
            "user: 0",
            "assistant: turn 0: 0",
        ]

    async def test_an_instruction_may_be_a_function(self, executor: Executor):
        assert await told(executor, "Talks", "callable", "x") == ["user: x", "assistant: turn 0: x"]


@pytest.mark.promise("issue: tokens flow from the activity to whoever watches the run")
async def test_an_answer_is_seen_while_it_is_written(executor: Executor):
    handle = await executor.start_workflow("Streams")

    async def some() -> str | None:
        steps = (await executor.describe_run(handle.id)).steps
        return steps[0].partial_text if steps else None

    early = await until(some)
    whole = (await handle.result()).value
    assert whole is not None
    assert whole.startswith(early)
    assert early != whole
