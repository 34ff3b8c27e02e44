"""SONIC (Baek et al. 2025, arXiv 2511.19985): the noise that an attempt begins with is optimised before it is used."""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isdiff.checks import Number, Whole
from isdiff.diffusion.grid import Grid
from isdiff.prediction import Prediction
from isdiff.seeds.base import SeededStart
from isdiff.trajectory import Trajectory

MEMORY = (0.9, 0.999)  # of Adam


@dataclass(eq=False)
class SonicStart(SeededStart):
    """Noise from which the model, left to itself, generates the known pixels. The network is asked on the way.

    An iteration generates an image from the noise, by deterministic steps that know nothing of the known region. The
    error on known pixels is taken for the gradient with respect to the noise: in the generated image all predicted
    noise counts as constant, so that nothing has to be differentiated. Adam makes a step with the Fourier transform of
    that gradient, on the Fourier transform of the noise.

    The paper's abstract says all this. [R]: the numbers of iterations and steps, that Adam works frequency by
    frequency (see :class:`EvenSonicStart`), its rate, and that the spectrum keeps its energy, so that the noise keeps
    its variance.

    At step 1, as published, nothing is left of the seed.
    """

    iterations: Whole = 20  # of the optimisation
    steps: Whole = 20  # network calls in an iteration
    rate: Number = 0.1  # Adam's, in units of the noise's standard deviation

    def walk(self, top: int) -> list[int]:
        """The indices of the grid that an iteration visits, evenly from ``top`` down."""
        return [round(index) for index in np.linspace(top, 0, min(self.steps, top + 1)).tolist()]

    def calls(self, grid: Grid) -> int:
        return self.iterations * len(self.walk(self.begin_index(0, grid)))

    def improve(self, tr: Trajectory, grid: Grid) -> Generator[Any, Any, None]:
        walk = self.walk(tr.plan[0])
        energy = tr.x.square().mean()
        spectrum = torch.view_as_real(torch.fft.fft2(tr.x, norm="ortho"))
        first, second = torch.zeros_like(spectrum), torch.zeros_like(spectrum)
        for count in range(1, self.iterations + 1):
            x = generated = tr.x
            for t, s in pairwise([*walk, -1]):
                prediction: Prediction = yield x, t
                generated = prediction.x0(x, grid, t)
                x = grid.noised(generated, grid.noise_in(x, generated, t), s)
            error = generated - tr.task.compose(generated)
            gradient = torch.view_as_real(torch.fft.fft2(error, norm="ortho"))
            first = MEMORY[0] * first + (1 - MEMORY[0]) * gradient
            second = MEMORY[1] * second + (1 - MEMORY[1]) * gradient.square()
            scale = self.scale(second / (1 - MEMORY[1] ** count)).sqrt().clamp(min=1e-8)
            spectrum = spectrum - self.rate * first / (1 - MEMORY[0] ** count) / scale
            spectrum = spectrum * (energy / state(spectrum).square().mean()).sqrt()
            tr.x = state(spectrum)
        tr.start = tr.x

    def scale(self, squares: Tensor) -> Tensor:
        """The mean squares that Adam divides by, of each frequency: all frequencies move at one rate."""
        return squares


class EvenSonicStart(SonicStart):
    """SONIC whose Adam divides all frequencies by one number [R].

    Frequency by frequency, Adam makes faint frequencies of the error as strong as strong ones. That draws the error's
    discontinuities, which lie along the hole's edge: bright and dark marks remain there. One number leaves none.
    """

    def scale(self, squares: Tensor) -> Tensor:
        return squares.mean()


def state(spectrum: Tensor) -> Tensor:
    """Transform a spectrum (C, H, W, 2) back into an image (C, H, W)."""
    return torch.fft.ifft2(torch.view_as_complex(spectrum), norm="ortho").real
