"""A depthwise 3x3 convolution of GELU(x): its derivative for the CPU. Elsewhere, and forward, torch's own parts do."""
