"""What may go wrong, sorted by what the caller does about it: the exit codes."""


class StrataError(Exception):
    """Anything else that stops a run; the message is one line for the user."""

    exit_code = 1


class BadInputError(StrataError):
    """A recipe, an override, an argument or data that cannot be used as it is."""

    exit_code = 2


class MissingError(StrataError):
    """A device, an engine or a dependency that is not there."""

    exit_code = 3


class RefusedError(StrataError):
    """The examination refused the candidate; the live model stays."""

    exit_code = 4
