"""`python -m server`: serves the workflows over streamable HTTP and SSE; with `--stdio`, over stdio."""

from mcp_agent.cli.__main__ import main

if __name__ == "__main__":
    main(["serve"])
