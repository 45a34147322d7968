from typing import Any

import pytest
from mcp_types import CreateMessageRequestParams

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.workflows.llm.sampling import sampling_params


@pytest.mark.parametrize("wrong", [{"maxTokens": 0}, {"maxTokens": -1}, {"maxTokens": 5, "temperature": -1}])
def test_what_no_model_can_be_asked_is_refused_by_name(wrong: dict[str, Any]):
    asked = CreateMessageRequestParams.model_validate({"messages": [], **wrong})
    with pytest.raises(WorkflowApplicationError, match="Input should be greater than") as refused:
        sampling_params(asked)
    assert refused.value.type == "UnsupportedSampling"
