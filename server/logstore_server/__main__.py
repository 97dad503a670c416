"""`python -m logstore_server` is `logstore`."""

from logstore_server.cli import main

main()
