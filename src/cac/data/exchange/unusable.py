"""The error of one annotation or video that cannot be used; the rest of the import goes on."""


class UnusableError(Exception):
    """An annotation or video that cannot be used; the message is the reason for the report."""
