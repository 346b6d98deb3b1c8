"""What DAMamba adds to MMEngine's runner: where it runs, what it loads, and its hooks."""
