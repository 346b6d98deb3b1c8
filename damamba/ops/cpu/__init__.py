"""What kernels for the CPU stand on: eight numbers at once, torch's threads, a way in. Numba is loaded late."""
