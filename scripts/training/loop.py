"""A resumable training loop: everything about step n follows from (config, n), so a killed run goes on unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from isdiff.devices import resolve_precision
from isdiff.io.files import atomic_save
from isdiff.paths import placed
from isdiff.progress import Reporter

Net = TypeVar("Net", bound=nn.Module)


def learning_rate(samples: int, *, peak: float, warmup: int, total: int, decay: float) -> float:
    """Linear warm-up over ``warmup`` samples, flat, linear to zero over the last fraction ``decay`` of ``total``."""
    return peak * min(1.0, (samples + 1) / max(1, warmup), max(0.0, (total - samples) / (decay * total)))


def autocast(device: torch.device) -> torch.autocast:
    """bf16 where the device computes in it, otherwise float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve_precision("auto", device) == "bf16")


def trained(net: Net, loss: Callable[[Net, int], dict[str, Tensor]], cfg) -> Trainer[Net]:
    """The trainer of ``cfg`` after its last step."""
    trainer = Trainer(net, loss, placed(cfg.folder), cfg.optim)
    trainer.run()
    return trainer


class Trainer(Generic[Net]):
    """AdamW with an exponential moving average of the weights, for any network and loss.

    Args:
        net: the network; trained in place.
        loss: ``loss(net, step) -> dict`` of per-sample tensors with at least ``loss``; draws the batch of ``step``.
        folder: holds ``state.pt`` (to resume) and ``loss.jsonl`` (the curve).
        options: ``batch_size``, ``total_samples``, ``lr``, ``warmup_samples``, ``decay``, ``weight_decay``, ``ema``,
            ``grad_clip``, ``save_every_s``, ``log_every``.
        evaluate: called with the averaged network every ``dev_every`` samples and at the end; its answer, numbers with
            at least ``dev``, goes to ``dev.jsonl``, and the averaged weights with the smallest ``dev`` to ``best.pt``.
    """

    def __init__(
        self,
        net: Net,
        loss: Callable[[Net, int], dict[str, Tensor]],
        folder: Path,
        options,
        evaluate: Callable[[Net], dict[str, float]] | None = None,
    ) -> None:
        self.net, self.loss, self.folder, self.options = net, loss, Path(folder), options
        self.evaluate = evaluate
        self.params: list[Tensor] = list(net.parameters())
        self.ema = [p.detach().clone() for p in self.params]
        self.optimizer = torch.optim.AdamW(
            self.params, lr=options.lr, weight_decay=options.weight_decay, betas=(0.9, 0.99), fused=True
        )
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.best = float("inf")
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "state.pt").exists():
            self.load()

    def load(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location=self.params[0].device, weights_only=True)
        with torch.no_grad():
            for own, saved in zip(self.params + self.ema, state["params"] + state["ema"], strict=True):
                own.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]
        self.best = state.get("best", self.best)

    def save(self) -> None:
        state = {
            "params": [p.detach() for p in self.params], "ema": self.ema, "optimizer": self.optimizer.state_dict(),
            "step": self.step, "samples": self.samples, "seconds": self.seconds, "best": self.best,
        }  # fmt: skip
        atomic_save(self.folder / "state.pt", lambda stream: torch.save(state, stream))

    def run(self) -> None:
        """Train until ``total_samples`` have been seen, saving on the way and at the end."""
        o = self.options
        last_save = time.monotonic()
        window: list[dict[str, float]] = []
        with Reporter("training", o.total_samples, done=self.samples, unit="sample") as report:
            while self.samples < o.total_samples:
                start = time.monotonic()
                window.append(self.one_step())
                now = time.monotonic()
                self.seconds += now - start
                report.advance(o.batch_size)
                if self.step % o.log_every == 0:
                    self.log(window)
                    window = []
                if self.evaluate and self.samples % o.dev_every < o.batch_size:
                    self.with_average(self.measure)
                if now - last_save > o.save_every_s:
                    self.save()
                    last_save = now
        if self.evaluate:
            self.with_average(self.measure)
        self.save()

    def one_step(self) -> dict[str, float]:
        o = self.options
        lr = learning_rate(self.samples, peak=o.lr, warmup=o.warmup_samples, total=o.total_samples, decay=o.decay)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        terms = self.loss(self.net, self.step)
        terms["loss"].mean().backward()
        nn.utils.clip_grad_norm_(self.params, o.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.samples += o.batch_size
        # The average forgets its random start quickly, then settles at the configured length.
        rate = 1 - min(o.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.params, rate)
        return {name: value.mean().item() for name, value in terms.items()}

    def measure(self) -> None:
        """Evaluate the network as it is now; keep it if it is the best so far."""
        assert self.evaluate
        found = self.evaluate(self.net)
        line = {"samples": self.samples} | {name: round(value, 6) for name, value in found.items()}
        with open(self.folder / "dev.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if found["dev"] < self.best:
            self.best = found["dev"]
            weights = [p.detach() for p in self.params]
            atomic_save(
                self.folder / "best.pt", lambda stream: torch.save({"params": weights, "samples": self.samples}, stream)
            )

    def log(self, window: list[dict[str, float]]) -> None:
        means = {name: sum(w[name] for w in window) / len(window) for name in window[0]}
        line = {"samples": self.samples, "seconds": round(self.seconds, 1)} | {k: round(v, 5) for k, v in means.items()}
        with open(self.folder / "loss.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    @torch.no_grad()
    def with_best(self, action: Callable[[], None]) -> None:
        """Run ``action`` while the network carries the weights that were best on held-out images (or the average)."""
        path = self.folder / "best.pt"
        if path.exists():
            best = torch.load(path, map_location=self.params[0].device, weights_only=True)
            self.ema = [p.to(own.dtype) for p, own in zip(best["params"], self.params, strict=True)]
        self.with_average(action)

    @torch.no_grad()
    def with_average(self, action: Callable[[], None]) -> None:
        """Run ``action`` while the network carries the averaged weights."""
        backup = [p.detach().clone() for p in self.params]
        training = self.net.training
        for own, average in zip(self.params, self.ema, strict=True):
            own.copy_(average)
        try:
            self.net.eval()
            action()
        finally:
            for own, kept in zip(self.params, backup, strict=True):
                own.copy_(kept)
            self.net.train(training)
