"""Pixel-space models from safetensors files, with or without a classifier that guides them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from isdiff.checks import Number, Whole, check_text
from isdiff.devices import DTYPES, compiled
from isdiff.errors import UserError
from isdiff.io.models import build_net, load_net
from isdiff.io.weights import Weights
from isdiff.models.base import FLOW, OWN, RANDOM, Model, check_keys, identity, lacking
from isdiff.nets.classifier import Classifier
from isdiff.paths import located
from isdiff.priors.pixel import ClassifierGuidance, FlowPath, PixelPrior


@dataclass(eq=False)
class PixelModel(Model):
    """A network on pixels from a safetensors file, with or without a classifier that guides it.

    ``weights`` may be ``random``: the network that the manifest lists under the model's name, untrained.
    """

    num_classes: Whole | None = None  # of a class-conditional model
    guidance_scale: Number = 0.0  # of classifier guidance; 0: none
    classifier: Mapping[str, str] | None = None  # ``name`` and ``weights`` of the classifier

    paths = (OWN, FLOW)
    not_hashed = (*Model.not_hashed, "guidance_scale", "classifier")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path == FLOW and self.guidance_scale:
            raise ValueError("path is flow, where classifier guidance does not apply; set guidance_scale=0")
        check_keys("classifier", self.classifier, ("name", "weights", "how"))
        self.guide = dict(self.classifier or {}) if self.guidance_scale else {}
        if self.guidance_scale:
            check_text("classifier.weights", self.guide.get("weights"))

    @property
    def classifier_weights(self) -> str:
        return RANDOM if self.weights == RANDOM else str(self.guide["weights"])

    def missing(self) -> list[str]:
        found = super().missing()
        if self.guide and self.weights != RANDOM:
            found += lacking(self.classifier_weights, self.guide.get("name", ""), self.guide.get("how"))
        return found

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        if self.guide:
            content = identity(self.classifier_weights, self.guide.get("name", ""))
            found |= {"guidance_scale": self.guidance_scale, "classifier": content}
        return found

    def load(
        self, device: torch.device, precision: str = "fp32", *, pad_to: int = 4, compile: bool | str = False,
        **options: Any,
    ) -> PixelPrior | FlowPath:  # fmt: skip
        """The network in ``precision``; what latent models are asked with does not matter."""
        net = network(self.weights, self.name)
        if isinstance(net, Classifier):
            raise UserError(f"weights {self.weights} are a classifier's; give a diffusion model's as model.weights")
        if (takes := getattr(net, "num_classes", None)) != (given := self.num_classes):
            raise UserError(f"weights {self.weights} take {takes} classes; set model.num_classes, which is {given}")
        prior = PixelPrior(net, device, precision, pad_to)
        if self.guide:
            weights = self.classifier_weights
            classifier = network(weights, self.guide.get("name", ""))
            if not isinstance(classifier, Classifier):
                raise UserError(f"weights {weights} are no classifier's; give others as model.classifier.weights")
            prior.guidance = ClassifierGuidance(classifier.to(device, DTYPES[precision]), self.guidance_scale)
        if compile:
            prior.net = compiled(prior.net, device, graphs=compile == "graphs")
        if self.path == FLOW:
            return FlowPath(prior, self.own_schedule.alphas_cumprod, self.num_timesteps)
        return prior


def network(weights: str, name: str) -> nn.Module:
    """The network in a file, float32; for ``random`` the one that the manifest lists under ``name``, untrained."""
    if weights != RANDOM:
        return load_net(located(weights))
    entries = Weights().entries
    if name not in entries:
        raise UserError(f"model {name} cannot have random weights: models/manifest.yaml does not list its network")
    torch.default_generator.manual_seed(0)
    return build_net(entries[name].net or {})
