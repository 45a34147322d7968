"""When a conversation is made shorter: what may be asked for."""

from typing import Any

import pytest

from mcp_agent.errors import InvalidArguments
from mcp_agent.workflows.llm.compaction import Compaction


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"how": "summarize"}, "`how` is `summarize`: use `summarise` or `drop`"),
        ({"at_tokens": 0}, "`at_tokens` is `0`"),
        ({"keep_messages": -1}, "`keep_messages` is `-1`"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], expected: str):
    with pytest.raises(InvalidArguments, match=expected):
        Compaction(**{"at_tokens": 10, **wrong})
