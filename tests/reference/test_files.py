"""The reference file server reads its folder and nothing else."""

import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from server.files import FILE_LIMIT, LISTED, Folder, Refused, build
from tests.support import call_text

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.md").write_text("Opening hours\nsundays: closed\n")
    (root / "sub" / "b.txt").write_text("No Sunday here")
    (root / ".env").write_text("KEY=sunday-secret")
    (root / "sub" / ".hidden").write_text("sunday-secret")
    (root / "picture.png").write_bytes(b"\x89PNG\xff\xfe sunday")
    (tmp_path / "outside.md").write_text("sunday-outside")
    (root / "link.md").symlink_to(tmp_path / "outside.md")
    (root / "out").symlink_to(tmp_path)
    return Folder(root)


def test_visible_files_are_listed_by_pattern(folder: Folder):
    assert folder.list_files().splitlines() == ["a.md (30 bytes)", "picture.png (13 bytes)", "sub/b.txt (14 bytes)"]
    assert folder.list_files("*.md") == "a.md (30 bytes)"
    assert folder.list_files("*.pdf") == "No file matches `*.pdf`."


def test_a_file_is_read_by_the_name_that_the_list_shows(folder: Folder):
    assert folder.read_file("sub/b.txt") == "No Sunday here"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.md",
        "sub/../../outside.md",
        "/etc/passwd",
        "link.md",
        "out/outside.md",
        ".env",
        "sub/.hidden",
        "",
        "a.md\0",
        ".",
    ],
)
def test_nothing_else_can_be_read(folder: Folder, path: str):
    with pytest.raises(Refused):
        folder.read_file(path)


@pytest.mark.parametrize(("path", "why"), [("none.md", "no file"), ("sub", "no file"), ("picture.png", "no text file")])
def test_what_cannot_be_read_is_told(folder: Folder, path: str, why: str):
    with pytest.raises(Refused, match=why):
        folder.read_file(path)


def test_a_search_gives_places_and_never_leaves_the_folder(folder: Folder):
    assert folder.search_files("SUNDAY").splitlines() == ["a.md:2: sundays: closed", "sub/b.txt:1: No Sunday here"]
    assert folder.search_files("absent") == "No line holds `absent`."
    with pytest.raises(Refused):
        folder.search_files("")


def test_what_is_returned_is_bounded(folder: Folder):
    (folder.root / "large.md").write_text("x" * (FILE_LIMIT + 1))
    with pytest.raises(Refused, match="200,000"):
        folder.read_file("large.md")
    for number in range(LISTED + 5):
        (folder.root / f"{number}.log").touch()
    lines = folder.list_files("*.log").splitlines()
    assert len(lines) == LISTED + 1
    assert lines[-1] == "... and 5 more files"


async def test_over_mcp_a_refusal_is_a_tool_error(folder: Folder):
    async with Client(build(folder.root)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["list_files", "read_file", "search_files"]
        assert await call_text(client, "read_file", path="a.md") == "Opening hours\nsundays: closed\n"
        for tool, arguments, named in [
            ("read_file", {"path": "../outside.md"}, "is no path of this folder"),
            ("read_file", {}, "`path` is missing"),
            ("read_file", {"path": 5}, "`path`"),
            ("list_files", {"patern": "*"}, "`patern`"),
            ("write_file", {"path": "a.md"}, "There is no tool `write_file`"),
        ]:
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert named in result.content[0].text  # type: ignore[union-attr]


async def test_as_a_process_it_serves_the_folder_it_is_given(folder: Folder):
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "server.files", str(folder.root)], cwd=Path(__file__).parents[2]
    )
    async with Client(command) as client:
        assert "a.md" in await call_text(client, "list_files")
