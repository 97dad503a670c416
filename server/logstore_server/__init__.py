"""The server: one folder per wire protocol, each a thin shell over `logstore.api.LogStore`."""
