"""Looking at data before anything is trained on it: what a row becomes, token by token; figures; two versions.

Works in a folder of its own that is removed again, and leaves no run behind.
"""

from tasks.looking.difference import Change, Difference, difference
from tasks.looking.rows import Looked, Sample, rows
from tasks.looking.stats import Stats, stats

__all__ = ["Change", "Difference", "Looked", "Sample", "Stats", "difference", "rows", "stats"]
