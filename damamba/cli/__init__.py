"""The commands: what `damamba`, tools/ and the Makefile run."""
