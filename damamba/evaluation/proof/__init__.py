"""An evaluation proves itself."""
