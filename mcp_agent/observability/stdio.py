"""Keeps standard input and output for the protocol. Only the standard library is imported: this runs before anything else."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO, NamedTuple


class Wire(NamedTuple):
    """The two ends of the protocol."""

    stdin: BinaryIO
    stdout: BinaryIO


def claim_stdio() -> Wire:
    """Moves file descriptors 0 and 1 away and returns them.

    From now on everything that prints goes to standard error, and who reads finds the end of the input. One stray line of user
    code at import, of a library or of a child process would break the protocol, as would one that is read by another.
    """
    return Wire(_claimed_stdin(), _claimed_stdout())


def _claimed_stdin() -> BinaryIO:
    protocol = os.dup(0)  # not inherited by children
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return os.fdopen(protocol, "rb")


def _claimed_stdout() -> BinaryIO:
    sys.stdout.flush()
    protocol = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(protocol, "wb", buffering=0)
