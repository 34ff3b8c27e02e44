"""Pictures and records go to the disk in a thread of their own, and nothing is said of them before they are there."""

import errno
import threading

import numpy as np
import pytest
from configured import RECORD

from isdiff.data.images import pixels_hash
from isdiff.runs.sampling import WAITING, Writer
from isdiff.runs.store import RunFolder

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def record(name: str) -> dict:
    return {"id": name, **RECORD}


class Disk(RunFolder):
    """A folder on a disk that waits until it is told to go on, and has room for so many images."""

    def __init__(self, path, room: int = 1000) -> None:
        super().__init__(path)
        self.go, self.room = threading.Event(), room

    def add(self, image, record):
        self.go.wait(10)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device", "x.png")
        self.room -= 1
        super().add(image, record)


def test_the_giver_goes_on_and_hears_of_images_whose_files_are_there(tmp_path):
    store = Disk(tmp_path)
    said: list[str] = []

    def stored(name: str) -> None:
        assert name in store.records() and threading.current_thread() is threading.main_thread()
        said.append(name)

    with Writer(store, stored) as writer:
        writer.add(PICTURE, record("a"))
        writer.add(PICTURE, record("b"))
        writer.settle()
        assert not said and not store.records(), "nothing is stored yet, and nobody waited for it"
        store.go.set()
        writer.settle(0)
        assert said == ["a", "b"] == list(store.records())
    assert {r["picture_sha"] for r in store.records().values()} == {pixels_hash(PICTURE)}
    assert np.array_equal(store.image("b"), PICTURE)


def test_a_slow_disk_holds_the_giver_back(tmp_path):
    store = Disk(tmp_path)
    with Writer(store, lambda name: None) as writer:
        for i in range(WAITING):
            writer.add(PICTURE, record(f"im{i}"))
        assert len(writer.pending) == WAITING
        threading.Timer(0.05, store.go.set).start()
        writer.add(PICTURE, record("more"))
        assert len(writer.pending) <= WAITING and "im0" in store.records()


@pytest.mark.parametrize("room, early", [(2, True), (0, False)], ids=["meanwhile", "at the end"])
def test_a_full_disk_is_raised_and_what_was_stored_is_kept(tmp_path, room, early):
    store, said = Disk(tmp_path, room), []
    store.go.set()
    with pytest.raises(OSError, match="No space left") as caught, Writer(store, said.append) as writer:
        for name in "abcd":
            writer.add(PICTURE, record(name))
        if early:
            writer.settle(0)
    assert caught.value.errno == errno.ENOSPC
    assert said == ["a", "b"][:room] == list(store.records())


def test_an_interrupt_loses_no_finished_image(tmp_path):
    store = Disk(tmp_path)
    with pytest.raises(KeyboardInterrupt), Writer(store, lambda name: None) as writer:
        for name in "abc":
            writer.add(PICTURE, record(name))
        store.go.set()
        raise KeyboardInterrupt
    assert list(store.records()) == ["a", "b", "c"]
