"""Looking at a store's files without changing them: `verify_store`. See README.md."""

from logstore.verify.findings import Finding, Report, Severity
from logstore.verify.store import verify_store

__all__ = ["Finding", "Report", "Severity", "verify_store"]
