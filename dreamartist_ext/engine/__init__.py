"""The method of DreamArtist (arXiv 2211.11337), and nothing else. Imports torch, numpy, Pillow, einops, safetensors.

Beside the paper, read in this order: `config` (every setting), `noise` and `timesteps` (the forward process),
`guidance` (the guided prediction, equation 5), `objective` (the loss) with `reconstruction`, `passes` (one pass of a
step), `trainer` (the loop) with `learning_rate`, `averaging` and `norm`, `check_loss` and `stopping`, `snapshot` (what
a later run needs). `host` is the protocol through which a model is seen; `pictures`, `framing`, `attention_mask`,
`latents`, `prompts` and `captions` are what is learned from.
"""
