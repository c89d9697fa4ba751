"""The failures that are the user's to mend."""

LONGEST = 1000  # characters


class UserError(Exception):
    """Bad input or a bad option. The message is one line: what is wrong, where, and what to type
    instead.

    Command lines catch it, print `error: <message>` to stderr and leave with `exit_code`; nothing
    else is printed. What a message quotes may come from a hostile file, so line ends and terminal
    codes in it are spelt out, and much is cut.
    """

    exit_code = 2

    def __init__(self, message: str):
        line = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in message
        )
        super().__init__(
            line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} [...] {line[-290:]}"
        )


class Damaged(UserError):
    """A file of ours is not what was written. The message names the file and the reason."""

    exit_code = 3
