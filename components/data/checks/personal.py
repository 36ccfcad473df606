"""No e-mail address, phone, card or account number, and no key or token that opens something."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.data.secrets import SUSPECT, find_secrets, mask


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """The kinds that a row holds, each shown masked."""
    import polars as pl

    secrets: dict[int, dict[str, str]] = {}
    for row, text in batch.strings.filter(pl.col("string").str.contains(SUSPECT)).iter_rows():
        for kind, secret in find_secrets(text):
            secrets.setdefault(row, {}).setdefault(kind, secret)
    for row, by_kind in sorted(secrets.items()):
        kinds = " and ".join(f"{kind} ({mask(secret)})" for kind, secret in by_kind.items())
        yield Failure(row, f"holds {kinds}", next(iter(by_kind.values())))
