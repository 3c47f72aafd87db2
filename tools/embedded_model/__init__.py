"""How the embedded model was made: icons, VAE, latents, U-Net with text encoder, export, figures."""
