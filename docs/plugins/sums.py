"""A dataset: sums, made by code. `--dataset sums --external_plugins sums.py`, or `sums:large#500`"""

from itertools import product

SIZES = {"small": 10, "large": 100}


def rows(subset: str = "small"):
    """Yield a question and its answer; `sums:large` is the subset `large`."""
    for a, b in product(range(SIZES[subset]), repeat=2):
        yield {"query": f"What is {a} + {b}?", "response": f"It is {a + b}."}
