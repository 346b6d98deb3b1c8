"""Results -> tables and plots, from the files that runs leave; never imports torch."""
