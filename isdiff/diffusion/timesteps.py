"""Which timesteps a sampler visits, and in which order: pure lists, no tensors.

A *grid* is an ascending tuple of training timesteps; samplers count in its indices, with index -1 for the clean
image. A *plan* is the list of indices that one image walks through; a rise in it is a re-noising jump.
"""

from __future__ import annotations

from collections.abc import Sequence


def spaced_timesteps(num_timesteps: int, spec: str | Sequence[int]) -> tuple[int, ...]:
    """Subset of ``range(num_timesteps)`` in the notation of guided-diffusion.

    ``"ddim100"``: 100 steps with the one integer stride that gives exactly that many, from 0.
    ``"250"`` or ``"10,15,20"``: equal sections of the process, each with so many steps spread from its first to its
    last timestep (fractional stride, rounded half to even).

    Raises:
        ValueError: no stride gives that many steps, or a section is shorter than its number of steps.
    """
    if isinstance(spec, str) and spec.startswith("ddim"):
        count = int(spec.removeprefix("ddim"))
        for stride in range(1, num_timesteps + 1):
            found = range(0, num_timesteps, stride)
            if len(found) == count:
                return tuple(found)
        raise ValueError(f"no integer stride picks {count} of {num_timesteps} timesteps")
    counts = [int(part) for part in spec.split(",") if part] if isinstance(spec, str) else list(spec)
    counts = counts or [num_timesteps]
    size, longer = divmod(num_timesteps, len(counts))
    steps: list[int] = []
    start = 0
    for number, count in enumerate(counts):
        length = size + (number < longer)
        if length < count:
            raise ValueError(f"cannot pick {count} steps from a section of {length} timesteps")
        spacing = (length - 1) / (count - 1) if count > 1 else 1.0
        place = 0.0
        for _ in range(count):
            steps.append(start + round(place))
            place += spacing
        start += length
    return tuple(sorted(set(steps)))


def leading_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Multiples of ``num_timesteps // count``, the grid of DDIM and DDNM: 0, 10, .., 990 for 100 of 1000.

    Raises:
        ValueError: ``count`` is not in 1..num_timesteps.
    """
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"cannot take {count} steps from a process of {num_timesteps}")
    return tuple(i * (num_timesteps // count) for i in range(count))


def trailing_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Ends at the noisiest timestep (Lin et al. 2024, Table 2): 19, 39, .., 999 for 50 of 1000.

    Raises:
        ValueError: ``count`` is not in 1..num_timesteps.
    """
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"cannot take {count} steps from a process of {num_timesteps}")
    return tuple(sorted(round(num_timesteps * (1 - i / count)) - 1 for i in range(count)))


def even_timesteps(num_timesteps: int, count: int) -> tuple[float, ...]:
    """From the first to the last timestep at equal distances, which are whole numbers only if ``count - 1`` divides
    ``num_timesteps - 1``: 0, 111, .., 999 for 10 of 1000.

    Raises:
        ValueError: ``count`` is not in 2..num_timesteps.
    """
    if not 2 <= count <= num_timesteps:
        raise ValueError(f"cannot spread {count} steps over a process of {num_timesteps}; at least 2 are needed")
    return tuple(i * (num_timesteps - 1) / (count - 1) for i in range(count))


def resampling_plan(steps: int, *loops: tuple[int, int], echo: int = 1, start: int | None = None) -> tuple[int, ...]:
    """Indices from ``steps - 1`` down to -1 with jumps back up (RePaint, Sec. 4.2; DDNM's time travel).

    Args:
        loops: ``(jump, repeat)`` pairs, the longest jumps first. From every multiple of ``jump`` below
            ``steps - jump`` the plan climbs ``jump`` indices and comes down again, ``repeat - 1`` times. A climb of an
            outer loop gives the inner ones their repeats back.
        echo: visit each index this many times by single steps up and down.
        start: no resampling above this index (None = everywhere).

    Network calls are the falls of the plan: ``resampling_plan(100, (10, 10))`` has 910.
    """
    ceiling = steps if start is None else start

    def full(jump: int, repeat: int) -> dict[int, int]:
        return dict.fromkeys(range(0, steps - jump, jump), repeat - 1)

    left = [full(*loop) for loop in loops]
    plan: list[int] = []
    t = steps
    while t > 0:
        t -= 1
        plan.append(t)
        if t < steps - 2 and t <= ceiling:
            plan += [t + 1, t] * (echo - 1)
        for depth in reversed(range(len(loops))):
            jump = loops[depth][0]
            if left[depth].get(t, 0) > 0 and t <= ceiling - jump:
                left[depth][t] -= 1
                plan += range(t + 1, t + jump + 1)
                t += jump
                left[depth + 1 :] = [full(*loop) for loop in loops[depth + 1 :]]
    return (*plan, -1)
