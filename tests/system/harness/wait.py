"""The one place that lets time pass: a condition is waited for, with a deadline."""

import os
import time

# Sanitizer builds are several times slower; their runs stretch every deadline by this factor.
PATIENCE = float(os.environ.get("SINKHOLE_PATIENCE", "1"))


class Overdue(AssertionError):
    """A condition did not come true in time."""


def until(condition, what, seconds=5.0, pause=0.005):
    """Calls `condition` until it returns something true, and returns that.

    An AssertionError or OSError raised by the condition counts as "not yet"; the last one is named
    when time is over.
    """
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        failure = None
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, OSError) as error:
            failure = error
        if time.monotonic() > deadline:
            said = f" (last: {failure})" if failure else ""
            raise Overdue(f"not within {seconds * PATIENCE:.1f} s: {what}{said}")
        time.sleep(pause)
