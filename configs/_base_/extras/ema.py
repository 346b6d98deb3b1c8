# A moving average of the weights: what is validated, and what checkpoints hold, so what is tested and published too.
# A config takes it with `default_hooks = dict(ema=_base_.ema)`, and this file among its bases.
ema = dict(
    type='EMAHook',
    ema_type='ExpMomentumEMA',
    momentum=0.0002,  # of the newest weights: the average reaches back over some 5,000 iterations
    gamma=2000,  # over fewer at the beginning: the momentum is 0.0002 + 0.9998 exp(-(t + 1) / 2000) at iteration t
    update_buffers=True,  # the running statistics of batch normalisation too
)
