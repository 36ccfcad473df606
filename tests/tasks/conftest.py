"""The toy workspace."""

from tests.flows.toy import ran_once, workspace

__all__ = ["ran_once", "workspace"]
