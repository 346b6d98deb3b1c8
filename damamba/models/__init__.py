"""The DAMamba backbone as the paper has it, in plain torch."""

from damamba.execution.folding import fuse
from damamba.models.arch import ARCHS, Arch, ArgumentError
from damamba.models.damamba import DAMamba

__all__ = ['ARCHS', 'Arch', 'ArgumentError', 'DAMamba', 'fuse']
