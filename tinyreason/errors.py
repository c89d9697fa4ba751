"""The one kind of failure that is the user's to mend."""


class UserError(Exception):
    """Bad input or a bad option. The message is one line: what is wrong, where, and what to type instead.

    Command lines catch it, print `error: <message>` to stderr and exit with code 2; nothing else is printed.
    """
