"""How good the parts of the small latent model are, on images of the development split.

``python benchmarks/latent_model.py --images 64`` writes ``benchmarks/results/latent_model.md``.
"""

import argparse
import sys
from pathlib import Path

import torch

from isdiff.config.composing import compose_run
from isdiff.data.images import to_tensor
from isdiff.diffusion.schedule import add_noise, named_betas
from isdiff.io.files import atomic_open
from isdiff.runs.experiment import Experiment

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "scripts"))
from training.autoencoder import known_distance, untouched
from training.pixel import predict_x0

TIMESTEPS = (100, 250, 400, 600, 800, 950)
NOTES = """
Known latents: root mean square between those of the masked and of the whole image, in cells without a hole pixel.
Columns t: the same of the U-Net's x_0 in the hole, from the whole image's latents noised to t, without text. Latents
have a standard deviation of about 1.
"""


def experiment(mask: str, folder: Path) -> Experiment:
    settings = ["dataset=avatars", "dataset.split=dev", "method=si", f"mask={mask}", "runtime.precision=fp32"]
    return Experiment.of(compose_run([*settings, f"model.weights={folder}"]))


def psnr(found: torch.Tensor, images: torch.Tensor) -> str:
    """Mean over images (B, 3, H, W) in [-1, 1], with a 95 % interval by the normal approximation."""
    values = -10 * ((found - images).square().flatten(1).mean(1) / 4).log10()
    return f"{values.mean():.2f} +- {1.96 * values.std() / len(values) ** 0.5:.2f} dB"


def noise_of(prior, x: torch.Tensor, t: int, tasks: list) -> torch.Tensor:
    parts = [slice(i, i + 32) for i in range(0, len(x), 32)]
    return torch.stack([p.noise for s in parts for p in prior.predict(list(x[s]), [t] * len(x[s]), tasks[s])])


@torch.inference_mode()
def measure(folder: Path, count: int) -> list[str]:
    first = experiment("half", folder)
    names, prior = first.dataset.ids()[:count], first.prior
    images = torch.stack([to_tensor(first.dataset.image(name)) for name in names])
    autoencoder = prior.autoencoder
    latents = autoencoder.encode(images)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    kept, worse = (autoencoder.decode(x) for x in (latents, latents + 0.2 * noise))
    lines = [f"- The autoencoder gives images back with a PSNR of {psnr(kept, images)},"]
    lines += [f"  and {psnr(worse, images)} with noise of 0.2 added to the latents.", ""]
    lines += ["| mask | known latents move by | " + " | ".join(f"t = {t}" for t in TIMESTEPS) + " |"]
    lines += ["|" + "---|" * (2 + len(TIMESTEPS))]
    alphas_cumprod = torch.cumprod(1 - named_betas("scaled_linear"), 0).float()
    for mask in ("half", "expand", "wide"):
        made = experiment(mask, folder)
        tasks = [made.ready(name).task for name in names]
        hole = torch.stack([task.hole for task in tasks])
        known = untouched(torch.stack([task.pixel_hole for task in tasks]), prior.factor)
        moved = known_distance(torch.stack([task.image for task in tasks]), latents, known)
        cells = [f"{moved[known.flatten(1).any(1)].mean().sqrt():.3f}"]
        for t in TIMESTEPS:
            x = add_noise(latents, noise, alphas_cumprod[t])
            error = predict_x0(x, noise_of(prior, x, t, tasks), alphas_cumprod[t]) - latents
            cells.append(f"{error.square().mean(1, keepdim=True)[hole].mean().sqrt():.3f}")
        lines.append(f"| {mask} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "avatars64-latent")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "latent_model.md")
    args = parser.parse_args()
    heading = f"# The small latent model\n\n{args.images} images of the development split, float32.\n\n"
    report = heading + "\n".join(measure(args.model, args.images)) + "\n" + NOTES
    print(report)
    with atomic_open(args.out) as stream:
        stream.write(report)


if __name__ == "__main__":
    main()
