"""What Temporal, its SDK and this package allow at most for one run."""

from __future__ import annotations

from datetime import timedelta

# With 2,001 Temporal would fail the workflow task for ever; what is more waits its turn, in order.
STEPS_UNDER_WAY = 1_000
# Temporal ends a run, without a word to its code, at 51,200 events or 50 MB.
MOST_EVENTS = 50_000
MOST_BYTES = 48_000_000
# Ten thousand signals that have waited for a worker are one task of some seconds, and so is the replay of a long history:
# with the defaults (2 s without a wait, 10 s for a task) it would be begun again and again. Longer is not better: a task that
# is lost with its worker, or that fails more than once, is tried again after this time.
LONGEST_THOUGHT = timedelta(seconds=15)
TASK_TIMEOUT = timedelta(seconds=20)
