"""The commands: what `python -m damamba`, tools/ and the Makefile run."""
