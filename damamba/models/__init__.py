"""The DAMamba backbone, in plain torch and timm."""

from damamba.models.backbone import ARCHS, Arch, DAMamba

__all__ = ['ARCHS', 'Arch', 'DAMamba']
