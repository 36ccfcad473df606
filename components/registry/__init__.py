"""Model versions in MLflow's registry: the present champion, the former champions, and the reason of each move.

    version = register("martlet", Path("models/merged"), workspace, reports=[...], tags={...})
    promote("martlet", version.number, workspace, why="passed the gate", over=None)
    rollback("martlet", workspace, why="answers in the wrong language")

- A version is its content: weights are hard-linked once into `mlruns/models/<content hash>/`, and equal weights are one
  version, however often they are registered.
- The aliases `champion`, `previous` and `challenger` name the version that is served, the version before, and the
  newest candidate, unless that is champion.
- Every move of an alias is first written to a journal, in tags of the registered model, whose lines are chained by
  their hashes. The next call finishes a move that was interrupted; `verify` finds what was changed by hand.
"""

from components.registry.challenger import renew_challenger
from components.registry.entries import Entry
from components.registry.journal import champion, history, promote, rollback
from components.registry.listing import Listing, number_of, versions
from components.registry.removal import freed_bytes, removable, remove
from components.registry.verify import verdict_file, verify, without_chain
from components.registry.versions import Version, annotate, find, lookup, register

__all__ = [
    "Entry",
    "Listing",
    "Version",
    "annotate",
    "champion",
    "find",
    "freed_bytes",
    "history",
    "lookup",
    "number_of",
    "promote",
    "register",
    "removable",
    "remove",
    "renew_challenger",
    "rollback",
    "verdict_file",
    "verify",
    "versions",
    "without_chain",
]
