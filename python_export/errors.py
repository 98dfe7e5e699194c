"""The one exception whose text is meant for the user."""


class ExportError(Exception):
    """One sentence that names what was wrong, the bad value and what was expected."""
