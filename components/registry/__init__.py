"""Models under a name, in MLflow's registry: who is champion, who was, and why.

    version = register("martlet", Path("models/merged"), workspace, reports=[...], tags={...})
    promote("martlet", version.number, workspace, why="passed the gate", over=None)
    rollback("martlet", workspace, why="answers in the wrong language")

- A version is its content: weights are hard-linked once into `mlruns/models/<content hash>/`, and the same weights are
  the same version, however often they are registered.
- The aliases `champion`, `previous` and `challenger` say what is served, what was, and what would like to be.
- Every move of an alias is first written to a journal, which lives as tags on the registered model. A move that was
  cut short is finished by the next call.
"""

from components.registry.journal import Entry, challenge, champion, history, promote, rollback
from components.registry.versions import Version, annotate, lookup, register

__all__ = [
    "Entry",
    "Version",
    "annotate",
    "challenge",
    "champion",
    "history",
    "lookup",
    "promote",
    "register",
    "rollback",
]
