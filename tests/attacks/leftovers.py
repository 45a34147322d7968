"""What the SDK leaves of connections that end in the middle of a message: the garbage collector closes it, and Python says so."""

import gc

LEFT = "ignore::pytest.PytestUnraisableExceptionWarning"


def collected() -> None:
    """Has it closed now, so that no other test is told."""
    gc.collect()
