"""Looking at a store's files without changing them: `verify_store`, `dump`. See README.md."""

from logstore.verify.dump import Item, dump
from logstore.verify.findings import Finding, Report, Severity
from logstore.verify.store import verify_store

__all__ = ["Finding", "Item", "Report", "Severity", "dump", "verify_store"]
