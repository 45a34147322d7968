"""The names under which models see downstream tools."""

import re

from mcp_agent.mcp.catalogue import NAME_LIMIT, Catalogue
from mcp_agent.mcp.definitions import DownstreamTool

ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,64}")


def tools(*names: tuple[str, str]) -> list[DownstreamTool]:
    return [DownstreamTool(server=server, name=name) for server, name in names]


def test_a_tool_is_named_after_its_server_and_found_by_that_name():
    catalogue = Catalogue(tools(("files", "read"), ("web", "fetch")))
    assert catalogue.names() == ["files_read", "web_fetch"]
    found = catalogue.find("web_fetch")
    assert found is not None
    assert (found.server, found.name) == ("web", "fetch")
    assert catalogue.find("fetch") is None


def test_two_that_would_share_a_name_get_different_ones_whatever_the_order():
    clashing = tools(("a_b", "c"), ("a", "b_c"), ("a", "other"))
    names = Catalogue(clashing).names()
    assert len(set(names)) == 3
    assert "a_other" in names
    assert "a_b_c" not in names
    assert Catalogue(reversed(clashing)).names() == names
    assert {(t.server, t.name) for t in map(Catalogue(clashing).find, names) if t} == {("a", "b_c"), ("a", "other"), ("a_b", "c")}


def test_the_same_tool_name_on_two_servers_needs_no_hash():
    assert Catalogue(tools(("one", "search"), ("two", "search"))).names() == ["one_search", "two_search"]


def test_names_are_ones_that_providers_allow():
    odd = tools(("my server", "läs/fil"), ("s", "x" * 200), ("s", "x" * 201), ("s", "a.b"), ("s", "a_b"))
    names = Catalogue(odd).names()
    assert len(set(names)) == len(odd)
    for name in names:
        assert ALLOWED.fullmatch(name)
        assert len(name) <= NAME_LIMIT


def test_a_model_is_shown_the_description_and_the_schema():
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tool = DownstreamTool(server="files", name="read", description="Reads.", input_schema=schema)
    ((spec, _),) = Catalogue([tool]).entries()
    assert (spec.name, spec.description, spec.input_schema) == ("files_read", "Reads.", schema)
