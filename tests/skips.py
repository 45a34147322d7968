"""Why a test may be skipped. `tests/test_skips.py` holds every skip of the suite to this list."""

KEEPER_IS_LINUX = "elsewhere the next keeper ends it"
PROC_IS_LINUX = "environments are read from /proc"
PORT_IN_USE = "the specification's port, 9090, is in use on this machine"
NO_TEST_SERVER = "Temporal's test server can be neither downloaded nor built here"
NO_CHECKOUT = "needs the checkout's git folder"
NO_SECOND_FAKE = "the second fake of the providers, `aimock`, is not in the cache and cannot be got: install Node 20 and npm"
