# AP-loss R-50, the official recipe: AP 35.5 on val, run by kemaloksuz/aLRPLoss
# with the official code. 2 GPUs x 8 images, lr 0.001.
_base_ = '../_base_/ap_loss_512.py'
model = dict(
    bbox_head=dict(
        # officially (s - 1) / 2 for stride s in inclusive pixels
        anchor_generator=dict(center_offset=0.5),
        bbox_coder=dict(add_ctr_clamp=True, ctr_clamp=1e8),
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=[
                dict(
                    type='Normal', name='retina_cls', std=0.01, bias_prob=0.01
                ),
                dict(type='Normal', name='retina_reg', std=0.001),
            ],
        ),
    ),
    test_cfg=dict(score_thr=[0.01, 0.01, 0.01, 0.01, 0.0]),
)
