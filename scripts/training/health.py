"""How good a pixel model is on images that it does not learn from, and whether its activations are sound."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.diffusion.schedule import add_noise
from isdiff.nets.unet import UNet
from training.data import Images, to_batch

LEVELS = (20, 100, 250, 500, 750, 850)  # timesteps whose errors are followed one by one
SPIKE_LEVELS = (20, 100, 250)


def noise_error(net: nn.Module, x0: Tensor, t: Tensor, alphas_cumprod: Tensor, batch: int = 32) -> Tensor:
    """Squared error of the predicted noise, averaged over channels: (N, H, W) for images ``x0`` at timesteps ``t``.

    The noise is always the same, so that networks are compared on equal terms.
    """
    device = next(net.parameters()).device
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    alphas_cumprod = alphas_cumprod[t].float().view(-1, 1, 1, 1)
    x = add_noise(x0, noise, alphas_cumprod)
    parts = zip(x.split(batch), t.split(batch), strict=True)
    eps = torch.cat([net(part.to(device), at.to(device)).float().cpu() for part, at in parts])[:, : x0.shape[1]]
    return (eps - noise).square().mean(1)


class HeldOut:
    """Errors on held-out images, beside those on training images: what :class:`Trainer` calls to keep the best weights.

    Args:
        alphas_cumprod: (T,).
        timesteps: the training's own distribution, ``timesteps(n, rng)``.
        images: ``dev`` and ``train`` as functions of (rng, n); the same ``count`` are drawn at every call.
    """

    def __init__(
        self,
        alphas_cumprod: Tensor,
        timesteps: Callable[[int, np.random.Generator], Tensor],
        images: dict[str, Images],
        count: int,
    ) -> None:
        self.alphas_cumprod = alphas_cumprod
        rng = np.random.default_rng(0)
        self.images = {name: to_batch(draw(rng, count)) for name, draw in images.items()}
        self.timesteps = timesteps(count, rng)

    @torch.no_grad()
    def __call__(self, net: UNet) -> dict[str, float]:
        """Return errors by name.

        ``dev`` and ``train``: velocity error over the training's timesteps; ``dev_<t>``, ``train_<t>``: noise error at
        one of ``LEVELS``; ``spike``: the largest ratio of :func:`spikes`.
        """
        found: dict[str, float] = {}
        weight = 1 / self.alphas_cumprod[self.timesteps].float()
        for name, x0 in self.images.items():
            errors = noise_error(net, x0, self.timesteps, self.alphas_cumprod).mean((1, 2))
            found[name] = (errors * weight).mean().item()
            few = x0[: len(x0) // 4]
            for level in LEVELS:
                at = torch.full((len(few),), level)
                found[f"{name}_{level}"] = noise_error(net, few, at, self.alphas_cumprod).mean().item()
        few = next(iter(self.images.values()))[:8]
        found["spike"] = max(r for t in SPIKE_LEVELS for r in spikes(net, few, t, self.alphas_cumprod).values())
        return found


@contextmanager
def watched(modules: dict[str, nn.Module]):
    """The outputs of modules during the forward passes inside the block, by name."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class SpikePenalty:
    """Keeps the activations of a U-Net's decoder alike at all positions, which takes droplets out of a trained network.

    Image by image: noisy images, whose activations are large everywhere, would hide the droplets of their mates.

    Args:
        net: whose decoder is watched while its loss is computed; not compiled, which would leave the watching out.
        weight: of the penalty.
        limit: ratio to the image's median position up to which nothing is asked for.
    """

    def __init__(self, net: UNet, weight: float = 1.0, limit: float = 3.0) -> None:
        names = [f"output_blocks.{place}.0" for place in range(len(net.output_blocks))]
        self.blocks = {name: net.get_submodule(name) for name in names}
        self.weight, self.limit = weight, limit

    @contextmanager
    def measured(self):
        """Yield a function to the penalties of the forward pass inside the block, (B,).

        A penalty is ``weight`` times the sum over blocks and positions of the logarithm of how many times ``limit`` the
        ratio is.
        """
        with watched(self.blocks) as seen:
            yield lambda: self.weight * torch.stack([self.excess(out) for out in seen.values()]).sum(0)

    def excess(self, activations: Tensor) -> Tensor:
        """(B, C, H, W) to (B,)."""
        sizes = activations.float().square().mean(1).flatten(1).sqrt()
        return (sizes / (self.limit * sizes.median(1, keepdim=True).values)).log().clamp(min=0).sum(1)


@torch.no_grad()
def spikes(net: UNet, x0: Tensor, timestep: int, alphas_cumprod: Tensor) -> dict[str, float]:
    """For each of a U-Net's last three decoder blocks: its largest activation by position over the median one.

    The activation at a position is the root mean square over images and channels. In a sound network it follows the
    images' contents; a ratio far above 5 is a droplet (see :func:`isdiff.nets.unet.group_norm`).
    """
    names = [f"output_blocks.{place}.0" for place in range(len(net.output_blocks))[-3:]]
    with watched({name: net.get_submodule(name) for name in names}) as seen:
        noise_error(net, x0, torch.full((len(x0),), timestep), alphas_cumprod, batch=len(x0))
    sizes = {name: out.float().square().mean((0, 1)).sqrt() for name, out in seen.items()}
    return {name: (size.max() / size.median()).item() for name, size in sizes.items()}


@torch.no_grad()
def corner_errors(net: nn.Module, x0: Tensor, timestep: int, alphas_cumprod: Tensor) -> dict[str, float]:
    """Noise error in the 2x2 pixels of each corner, averaged over images."""
    errors = noise_error(net, x0, torch.full((len(x0),), timestep), alphas_cumprod).mean(0)
    corners = {"top left": errors[:2, :2], "top right": errors[:2, -2:]}
    corners |= {"bottom left": errors[-2:, :2], "bottom right": errors[-2:, -2:]}
    return {name: square.mean().item() for name, square in corners.items()}
