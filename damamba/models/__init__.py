"""The DAMamba backbone, in plain torch."""

from damamba.models.backbone import ARCHS, Arch, DAMamba
from damamba.models.fuse import fuse
from damamba.models.layers import ArgumentError

__all__ = ['ARCHS', 'Arch', 'ArgumentError', 'DAMamba', 'fuse']
