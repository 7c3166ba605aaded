"""Ends the sessions that tests started when pytest is killed: `tests.support.processes` starts it beside pytest.

A line of its input is `+` or `-` and the number of a session's leader; the input ends when pytest does.
"""

from __future__ import annotations

import sys

from tests.support.processes import end_session

if __name__ == "__main__":
    left: set[int] = set()
    for line in sys.stdin:
        (left.add if line.startswith("+") else left.discard)(int(line[1:]))
    for leader in left:
        end_session(leader)
