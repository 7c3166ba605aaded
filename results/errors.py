"""The errors of the package.

UserError                  a mistake of the user: one line on stderr and exit code 2
└── ResultsError           (also a ValueError) results that cannot be read, filtered or shown
    ├── RecordError        an event that the record refuses
    │   └── RecordLockedError  another live driver writes to the run
    ├── RunNotFoundError   no run of that name
    ├── NewerVersionError  a run of a newer version
    └── FilterError        a filter that is not one boolean expression over the columns
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user, shown as one line without a traceback."""


class ResultsError(UserError, ValueError):
    """Results that cannot be read, filtered or shown."""


class RecordError(ResultsError):
    """An event that the record refuses; the message says which field or which order is wrong."""


class RecordLockedError(RecordError):
    """Another live driver writes to the run; the message names its process and host."""


class RunNotFoundError(ResultsError):
    """No run of that name; the message names existing runs."""


class NewerVersionError(ResultsError):
    """A run whose tables a newer version wrote; the message says what to upgrade."""


class FilterError(ResultsError):
    """A filter that is not exactly one boolean expression over the table's columns."""
