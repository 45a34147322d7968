"""Write an agent workflow once, as a Python class; serve it over MCP as durable tools."""

__version__ = "0.1.0"
