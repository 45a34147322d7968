"""How much one caller may do."""

from contextlib import ExitStack

import pytest

from mcp_agent.config import LimitSettings
from mcp_agent.errors import RateLimited
from mcp_agent.server.entries import refused
from mcp_agent.server.limits import FORGET_FROM, Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.promise("issue: rate and concurrency limits per caller, with retry time")
def test_a_caller_s_calls_come_back_with_time_and_others_are_not_slowed():
    clock = Clock()
    limits = Limits(LimitSettings(calls_per_minute=30), clock)
    for _ in range(30):
        with limits.call("alice"):
            pass
    with pytest.raises(RateLimited) as raised, limits.call("alice"):
        pytest.fail("it is one too many")
    assert raised.value.retry_after_seconds == 2
    result = refused(raised.value)
    assert result.structured_content is not None
    assert result.structured_content["retry_after_seconds"] == 2
    assert result.structured_content["retryable"]
    with limits.call("bob"), limits.call(None):
        pass
    clock.now += 2
    with limits.call("alice"):
        pass
    with pytest.raises(RateLimited), limits.call("alice"):
        pytest.fail("it is one too many")


def test_calls_under_way_count_until_they_end_however_they_end():
    limits = Limits(LimitSettings(concurrent_calls=2), Clock())
    with ExitStack() as under_way:
        under_way.enter_context(limits.call("alice"))
        with pytest.raises(ValueError, match="broken"), limits.call("alice"):
            raise ValueError("broken")
        under_way.enter_context(limits.call("alice"))
        with pytest.raises(RateLimited, match="2 of your calls are under way"), limits.call("alice"):
            pytest.fail("it is one too many")
        with limits.call("bob"):
            pass
    with limits.call("alice"), limits.call("alice"):
        pass


def test_callers_who_are_idle_are_forgotten_and_nobody_gains_by_it():
    clock = Clock()
    limits = Limits(LimitSettings(calls_per_minute=2, concurrent_calls=1), clock)
    with limits.call("busy"):
        for n in range(5 * FORGET_FROM):
            clock.now += 1
            with limits.call(f"caller {n}"):
                pass
        assert len(limits._callers) < 2 * FORGET_FROM
        with pytest.raises(RateLimited), limits.call("busy"):
            pytest.fail("it is under way")


def test_nothing_is_counted_where_nothing_is_limited():
    limits = Limits(LimitSettings(calls_per_minute=0))
    with ExitStack() as under_way:
        for _ in range(100):
            under_way.enter_context(limits.call("alice"))
    assert not limits._callers
