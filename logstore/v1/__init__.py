"""Generated from proto/logstore/v1 by `make gen`; never edited."""
