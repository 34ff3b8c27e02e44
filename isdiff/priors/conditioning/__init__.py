"""How latent inpainting models are asked: prompts, masks, guidance; one way a file."""
