"""The exceptions that jsweep raises for what a caller can put right: each message is one sentence with its fix."""


class JsweepError(Exception):
    """What every error of jsweep's own is: the message names the argument, its value and the fix.

    It is shown without control characters, as it may repeat a name from a record that anyone wrote.
    """

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


class ConfigError(JsweepError, ValueError):
    """An argument, a config, a task or data that cannot be used."""


class UnknownNameError(ConfigError, KeyError):
    """A config, a result or a store was asked for a name that it does not have."""


class StoreError(JsweepError, OSError):
    """A store, or a file beside it, that cannot be opened, read or written."""


class IncompatibleSweepError(JsweepError):
    """A sweep whose record was made from another task, other data, or in another environment."""


class MissingExtraError(JsweepError, ImportError):
    """An optional package that is not installed; the message holds the command that installs it."""
