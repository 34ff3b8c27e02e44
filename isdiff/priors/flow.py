"""Flow-matching models of diffusers as the engine sees them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from isdiff.prediction import Prediction
from isdiff.priors.base import LatentTask
from isdiff.priors.conditioning import Conditioning
from isdiff.priors.families import Family, Texts
from isdiff.priors.latent import LatentSpace
from isdiff.trajectory import Task

TIMES = 1000  # a timestep is sigma times this


class FlowPrior(LatentSpace):
    """A transformer of one family.

    Images whose texts have other lengths go in calls of their own, so that no answer depends on others. The family's
    transformer and autoencoder are on ``device``.
    """

    whole = True  # or the grey of the blanked hole would stay in cells that count as known

    def __init__(self, family: Family, conditioning: Conditioning, device: torch.device, **options: int) -> None:
        super().__init__(family, conditioning, device, **options)
        self.family, self.texts = family, dict[str, Texts]()

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> list[Tensor]:
        """What people see of clean states; known cells are the image's, as diffusers' pipelines end."""
        if not self.family.fills:
            states = [task.compose(x) for x, task in zip(states, tasks, strict=True)]
        return super().decode(states, tasks)

    def asked(self, prompt: str) -> dict[str, Any]:
        guided = self.conditioning.guidance_scale > 1
        return {"condition": tuple(map(self.read, [self.conditioning.negative_prompt] * guided + [prompt]))}

    def read(self, text: str) -> Texts:
        """The network's arguments for a text, without a batch; every text is encoded once."""
        if text not in self.texts:
            with lent(self.family.pipe, self.device), torch.inference_mode(False), torch.no_grad():
                found = self.family.read(text, self.device)
            self.texts[text] = {name: value[0] for name, value in found.items()}
        return self.texts[text]

    def batch(
        self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[LatentTask]
    ) -> list[Prediction]:
        groups: dict[Any, list[int]] = {}
        for row, (x, task) in enumerate(zip(states, tasks, strict=True)):
            shapes = tuple(value.shape for texts in task.condition for value in texts.values())
            groups.setdefault((x.shape, shapes), []).append(row)
        answers: dict[int, Prediction] = {}
        for rows in groups.values():
            chosen = [states[row] for row in rows], [timesteps[row] for row in rows], [tasks[row] for row in rows]
            answers |= zip(rows, self.alike(*chosen), strict=False)
        return [answers[row] for row in range(len(states))]

    def alike(self, states: list[Tensor], timesteps: list[float], tasks: list[LatentTask]) -> list[Prediction]:
        """Answers for images whose latents and texts have the same shapes; more of them where the batch is filled."""
        x, tasks = torch.stack(self.filled(states)), self.filled(tasks)
        t = torch.tensor(self.filled(timesteps), dtype=torch.float32, device=self.device)
        dtype, answers = self.family.network.dtype, []
        for column in zip(*(task.condition for task in tasks), strict=True):
            texts = {name: torch.stack([each[name] for each in column]).to(dtype) for name in column[0]}
            answers.append(self.family.ask(x.to(dtype), t, texts, tasks).float())
        scale = self.conditioning.guidance_scale
        answer = answers[0] if len(answers) == 1 else self.family.guided(answers[0], answers[1], scale)
        velocity, sigma = self.family.unpacked(answer, *x.shape[2:]), (t / TIMES).view(-1, 1, 1, 1)
        said = Prediction.of(velocity, "flow", x, 1 - sigma, sigma)
        assert said.clean is not None
        return [Prediction(noise, clean=clean) for noise, clean in zip(said.noise, said.clean, strict=True)]


@contextmanager
def lent(pipe: Any, device: torch.device) -> Iterator[None]:
    """A pipeline's text encoders on ``device``, and off it again, where the transformer needs the memory."""
    encoders = [part for name, part in pipe.components.items() if name.startswith("text_encoder") and part is not None]
    for encoder in encoders:
        encoder.to(device)
    try:
        yield
    finally:
        if device.type != "cpu":
            for encoder in encoders:
                encoder.to("cpu")
            torch.cuda.empty_cache()
