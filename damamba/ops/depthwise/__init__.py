"""A depthwise 3x3 convolution of a GELU, and the derivative of one between activations, for the CPU."""
