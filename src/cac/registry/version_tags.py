"""The names of a version's tags that more than one module reads, and what `registration` may say.

Apart from `register.py`, because whoever reads a version need not import what makes one.
"""

KEY_TAG = "registration_key"
REGISTRATION_TAG = "registration"
COMPLETE, INCOMPLETE, SUPERSEDED = "complete", "incomplete", "superseded"
SECONDS_TAG = "seconds_per_clip"  # a tag and no metric: it depends on the machine and how busy it is


def metric_tag(metric: str) -> str:
    """Return the version's tag that holds a test metric."""
    return f"test_{metric}"


def value_tag(name: str) -> str:
    """Return the version's tag that holds a number the gate reads."""
    return name if name == SECONDS_TAG else metric_tag(name)
