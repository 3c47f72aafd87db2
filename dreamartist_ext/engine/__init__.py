"""The method of DreamArtist (arXiv 2211.11337), and nothing else. Imports torch, numpy, Pillow, einops, safetensors.

To read it beside the paper, follow this order:

1. `config`: every setting
2. `noise`, `timesteps`: the forward process
3. `guidance`: the guided prediction, equation 5
4. `objective`, `reconstruction`: the loss
5. `passes`: one pass of a step
6. `trainer`: the loop, with `learning_rate`, `averaging` and `norm`
7. `check_loss`, `stopping`; `snapshot`: what a later run needs

`host` is the protocol through which the engine uses a model. The training data is made by `pictures`, `framing`,
`attention_mask`, `latents`, `prompts` and `captions`.
"""
