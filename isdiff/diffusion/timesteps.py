"""Which timesteps a sampler visits, and in which order: pure lists, no tensors.

A *grid* is an ascending tuple of training timesteps; samplers count in its indices, with index -1 for the clean
image. A *plan* is the list of indices that one image walks through; a rise in it is a re-noising jump.
"""

from __future__ import annotations

from itertools import accumulate


def spaced_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """From the first to the last timestep at equal distances, rounded half to even (guided-diffusion's ``"250"``)."""
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"cannot take {count} steps from a process of {num_timesteps}")
    spacing = (num_timesteps - 1) / (count - 1) if count > 1 else 1.0
    return tuple(round(place) for place in accumulate([spacing] * (count - 1), initial=0.0))


def leading_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Multiples of ``num_timesteps // count``, the grid of DDIM and DDNM: 0, 10, .., 990 for 100 of 1000."""
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"cannot take {count} steps from a process of {num_timesteps}")
    return tuple(i * (num_timesteps // count) for i in range(count))


def trailing_timesteps(num_timesteps: int, count: int) -> tuple[int, ...]:
    """Ends at the noisiest timestep (Lin et al. 2024, Table 2): 19, 39, .., 999 for 50 of 1000."""
    if not 1 <= count <= num_timesteps:
        raise ValueError(f"cannot take {count} steps from a process of {num_timesteps}")
    return tuple(sorted(round(num_timesteps * (1 - i / count)) - 1 for i in range(count)))


def even_timesteps(num_timesteps: int, count: int) -> tuple[float, ...]:
    """From the first to the last timestep at equal distances: 0, 111, .., 999 for 10 of 1000.

    They are whole numbers only if ``count - 1`` divides ``num_timesteps - 1``.
    """
    if not 2 <= count <= num_timesteps:
        raise ValueError(f"cannot spread {count} steps over a process of {num_timesteps}; at least 2 are needed")
    return tuple(i * (num_timesteps - 1) / (count - 1) for i in range(count))


def resampling_plan(steps: int, jump: int = 1, repeat: int = 1) -> tuple[int, ...]:
    """Indices from ``steps - 1`` down to -1 with jumps back up (RePaint, Sec. 4.2; DDNM's time travel).

    From every multiple of ``jump`` below ``steps - jump`` the plan climbs ``jump`` indices and comes down again,
    ``repeat - 1`` times. Network calls are the falls of the plan: ``resampling_plan(100, 10, 10)`` has 910.
    """
    plan: list[int] = []
    for t in range(steps - 1, -1, -1):
        plan.append(t)
        if t % jump == 0 and t < steps - jump:
            plan += [*range(t + 1, t + jump + 1), *range(t + jump - 1, t - 1, -1)] * (repeat - 1)
    return (*plan, -1)
