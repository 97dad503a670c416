"""One module for each API key, loaded when it is first asked for. See ../registry.py."""
