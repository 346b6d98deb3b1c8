# Learning rates that fall from the heads to the stem: block k of N learns with lr * 0.9 ** (N + 1 - k), the stem is
# block 0. In the tiny variant, of 24 blocks, that is 0.9 of the rate for the last one and 0.07 for the stem.
# A config takes it with `optim_wrapper = _base_.layer_decay`, and this file among its bases.
layer_decay = dict(constructor='LayerDecay', paramwise_cfg=dict(decay_rate=0.9))
