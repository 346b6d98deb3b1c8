_base_ = 'mmdet::_base_/default_runtime.py'

# Registers DAMamba and what goes with it, also under MMDetection's own tools.
custom_imports = dict(imports=['damamba.register'], allow_failed_imports=False)
runner_type = 'DAMambaRunner'
