"""Views of data before training: a row token by token, figures on a dataset, the difference between two versions.

The stages run in a temporary folder and leave no run behind.
"""

from tasks.looking.difference import Change, Difference, difference
from tasks.looking.rows import Looked, Sample, rows
from tasks.looking.stats import Stats, stats

__all__ = ["Change", "Difference", "Looked", "Sample", "Stats", "difference", "rows", "stats"]
