"""A StyleGAN2 generator and discriminator whose parameters are laid out as in NVIDIA's stylegan2-ada-pytorch.

Names and shapes are those of the official ``G_ema.state_dict()`` and ``D.state_dict()`` (skip generator, residual
discriminator, unconditional), so that a converted network loads with ``load_state_dict`` after two changes only:

- drop every key that ends in ``resample_filter``: the FIR filter [1, 3, 3, 1] is a constant here;
- nothing else: ``mapping.w_avg``, ``mapping.fc{i}.*``, ``synthesis.b{res}.const``, ``synthesis.b{res}.conv{0,1}.*``
  (``affine.weight``, ``affine.bias``, ``weight``, ``bias``, ``noise_const``, ``noise_strength``),
  ``synthesis.b{res}.torgb.*`` and ``b{res}.{fromrgb,conv0,conv1,skip}.*``, ``b4.{conv,fc,out}.*`` are identical.

Config-f is ``channel_base=32768, channel_max=512``; the half-width one ("paper256") is ``channel_base=16384``.

Sources: Karras et al., "A Style-Based Generator Architecture for GANs" (CVPR 2019); "Analyzing and Improving the
Image Quality of StyleGAN" (CVPR 2020); "Training GANs with Limited Data" (NeurIPS 2020).
"""
