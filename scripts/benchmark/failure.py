"""The two ways in which a benchmark can end badly, kept apart.

`BenchmarkError` ends the run: a tool is absent, a namespace cannot be made. `MeasurementFailed` ends
one figure of one round: it is reported as failed and never averaged with good ones.
"""


class BenchmarkError(Exception):
    """The run cannot go on. The text tells the user what to do."""


class MeasurementFailed(Exception):
    """One figure of one round is not valid: errors were seen, or nothing came through."""
