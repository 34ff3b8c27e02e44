"""A diffusion prior made of one picture's own known patches: no weights, no training, any size."""
