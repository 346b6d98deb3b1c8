"""DAMamba: the dynamic adaptive scan Mamba backbone for MMDetection."""

__version__ = '0.1.0'
