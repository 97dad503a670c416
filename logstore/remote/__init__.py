"""LogStore over gRPC. See README.md; `connect_store` of logstore.remote.store is the way in."""
