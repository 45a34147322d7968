import pytest
from mcp import MCPError

from mcp_agent.mcp.transport import Notes
from mcp_agent.mcp.trouble import as_trouble


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Cannot send 'elicitation/create': this transport context has no back-channel.", "set `protocol: legacy`"),
        ("No such tool.", None),
    ],
)
def test_a_server_that_asks_the_old_way_over_the_new_protocol_is_told_apart(message: str, hint: str | None):
    trouble = as_trouble(MCPError(-32600, message), Notes(), ended=False)
    assert (trouble.type, trouble.retryable, trouble.broken) == ("DownstreamError", False, False)
    assert message in trouble.what
    assert ("protocol: legacy" in trouble.what) == (hint is not None)
