"""The one exception that means "you asked for something that cannot be done": one sentence, no traceback in the CLI."""


class UserError(ValueError):
    """A user's mistake, told in one sentence that names the argument, its value and the mend."""
