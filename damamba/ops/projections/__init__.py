"""The mixer's narrow projections of each pixel, with what lies around them and their derivatives, for the CPU."""

EPS = 1e-6  # of every layer normalisation of the model
