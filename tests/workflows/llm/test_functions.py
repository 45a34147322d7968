from mcp_agent.workflows.llm.functions import found, path_of
from tests.workflows.llm import test_functions


def here() -> None: ...


def test_a_function_is_found_by_its_path():
    assert found(path_of(test_functions.here)) is test_functions.here


def test_a_function_of_the_program_itself_is_found_from_the_sandbox():
    def copy() -> None: ...

    copy.__module__, copy.__qualname__ = "__temporal_main__", "copy"
    assert path_of(copy) == "__main__:copy"
