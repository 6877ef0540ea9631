"""Errors that speak to the user: what is wrong, where, and what to do."""


class CslmError(Exception):
    """A mistake the user can mend; the command line prints it without a traceback."""


class BadRecord(CslmError):
    """One record cannot be used; the caller sets it aside, counts it and goes on.

    Args:
        stage: where it was noticed, e.g. "audio", "align", "units", "text".
        reason: what is wrong, in words that name the field.
    """

    def __init__(self, stage: str, reason: str):
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason

    def __reduce__(self):
        """Pickled by its arguments: sound is loaded in other processes, and so is the reason why it cannot be."""
        return type(self), (self.stage, self.reason)


class TryAgain(BadRecord):
    """One record cannot be used for now, because something outside failed: another run tries it again."""
