"""PowerPaint v1 (Zhuang et al. 2024): learned words in the prompt say what is to happen in the hole."""

from __future__ import annotations

from dataclasses import dataclass

from isdiff.checks import check_choice, check_number
from isdiff.nets.captions import TASK_WORDS, VECTORS
from isdiff.priors.conditioning.base import Conditioning
from isdiff.priors.text import PromptPair

QUALITY = ", worst quality, low quality, normal quality, bad quality, blurry "
TASKS = ("text-guided", "shape-guided", "object-removal", "image-outpainting", "context-aware")


def powerpaint_prompts(task: str, prompt: str, negative: str, fitting_degree: float = 1.0) -> PromptPair:
    """The prompts of one of ``TASKS`` (official demo; ``context-aware`` is IOPaint's).

    Args:
        fitting_degree: in [0, 1]; only ``shape-guided`` has two different prompts to mix.
    """
    if task == "text-guided":
        return PromptPair.plain(f"{prompt} P_obj", f"{negative}{QUALITY}P_obj")
    if task == "shape-guided":
        negatives = f"{negative}{QUALITY}P_shape", f"{negative}{QUALITY}P_ctxt"
        return PromptPair((f"{prompt} P_shape", f"{prompt} P_ctxt"), negatives, fitting_degree)
    if task in ("object-removal", "image-outpainting"):
        return PromptPair.plain(f"empty scene blur {prompt} P_ctxt", f"{negative} P_obj")
    return PromptPair.plain(f"{prompt} P_ctxt", negative)


def expand_task_words(text: str) -> str:
    """``P_obj`` becomes ``P_obj_0 P_obj_1 ... P_obj_9``, the strings that PowerPaint's tokenizer knows."""
    for word in TASK_WORDS:
        text = text.replace(word, " ".join(f"{word}_{i}" for i in range(VECTORS)))
    return text


@dataclass(eq=False)
class PowerPaint(Conditioning):
    """PowerPaint: learned words for each of its tasks stand beside the prompt.

    Args:
        task: one of ``TASKS``.
        fitting_degree: of ``shape-guided``: how closely the object fills the hole, in [0, 1].
    """

    task: str = "context-aware"
    fitting_degree: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("task", self.task, TASKS)
        check_number("fitting_degree", self.fitting_degree, high=1)

    def prompts(self, prompt: str) -> PromptPair:
        pair = powerpaint_prompts(self.task, prompt, self.negative_prompt, self.fitting_degree)
        first, second, negative, other = map(expand_task_words, (*pair.prompts, *pair.negative))
        return PromptPair((first, second), (negative, other), pair.weight)
