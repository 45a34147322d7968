"""A tool of agents, and how OpenAI's chat completions describe it."""

from typing import Any

QUESTION = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}
FUNCTION = {"name": "look_up", "description": "Looks up what is known.", "parameters": QUESTION}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]


def look_up(question: str) -> str:
    """Looks up what is known."""
    return f"about {question}: {'all that is known, ' * 10}"
