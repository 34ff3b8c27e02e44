"""Devices by name."""

import pytest

from isdiff.errors import UserError


@pytest.mark.parametrize(
    "device, message",
    [("cuda:99", "torch sees"), ("toaster", "it must be auto, cpu, cuda or cuda:1"), ("xla", "does not work here")],
)
def test_devices_that_are_not_here(device, message):
    from isdiff.devices import resolve_device

    with pytest.raises(UserError, match=message):
        resolve_device(device)
