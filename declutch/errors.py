"""The one exception type a user is meant to see.

Everything a person can put right (a path, a value, a missing package) is raised as a `UserError`
whose message names the thing, the value and the remedy; the command line prints it without a
traceback and exits with status 2.
"""


class UserError(Exception):
    """A problem the user can fix: the message says what, where and how."""
