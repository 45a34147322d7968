"""`mcp-agent`: the command line. Standard input and output are claimed before anything that might print is imported."""

from __future__ import annotations

import gc
import sys

from mcp_agent.observability.stdio import claim_stdio


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line with `arguments`, or with those of the process."""
    given = sys.argv[1:] if arguments is None else [*arguments, *sys.argv[1:]]
    wire = claim_stdio() if "serve" in given and "--stdio" in given else None
    if given[:1] in (["serve"], ["worker"]):
        gc.disable()  # what is imported stays; `mcp_agent.cli.serving` turns it on again
    # Imported here, after the claim: this imports most of the package, and later the user's code.
    from mcp_agent.cli.commands import run  # noqa: PLC0415

    run(given, wire)


if __name__ == "__main__":
    main()
