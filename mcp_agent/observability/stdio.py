"""Keeps standard output for the protocol. Only the standard library is imported: this runs before anything else."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO


def claim_stdout() -> BinaryIO:
    """Moves file descriptor 1 away and returns it; from now on everything that prints goes to standard error.

    One stray line on standard output would break the protocol: of user code at import, of a library, of a child process.
    """
    sys.stdout.flush()
    protocol = os.dup(1)
    os.set_inheritable(protocol, False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(protocol, "wb", buffering=0)
