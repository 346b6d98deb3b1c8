"""The derivative of a depthwise 3x3 convolution between activations, for the CPU. Forward it is torch's own."""
