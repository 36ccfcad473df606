"""The row is in a known format and its values have the right types.

What fails here has failed before the checks begin: it could not be turned into a canonical row.
"""

from components.data.checks import Batch, Context, Failures


def check_rows(_batch: Batch, _context: Context) -> Failures:
    """Nothing more: the gate itself tells of rows that it could not read."""
    return ()
