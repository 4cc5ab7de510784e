"""The one exception a user's mistake raises."""


class InputError(ValueError):
    """Bad input; the message is one line that says what is wrong and what to do."""
