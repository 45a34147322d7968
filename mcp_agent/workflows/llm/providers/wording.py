"""What models are told in words, alike at every provider that takes it as text."""

from __future__ import annotations

from mcp_types import ResourceLink, TextResourceContents

NOT_CARRIED_OUT = "(This call was not carried out.)"
"""The result of a call that has none, such as one that was cut off: APIs refuse a conversation without."""
NOTHING_RETURNED = "(The tool returned nothing.)"


def link_text(block: ResourceLink) -> str:
    """Where a resource is, and what it is."""
    return " ".join(filter(None, [f"Resource `{block.uri}`:", block.title or block.name, block.description]))


def resource_text(uri: str, text: str) -> str:
    """What a resource holds, with where it is from."""
    return f"Resource `{uri}`:\n{text}"


def embedded_text(resource: TextResourceContents) -> str:
    """As `resource_text`, of a resource that is text."""
    return resource_text(resource.uri, resource.text)
