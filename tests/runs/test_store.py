"""A run's folder: records by several processes, and ids that are no file names."""

import threading

import numpy as np
import pytest
from configured import RECORD

from isdiff.errors import UserError
from isdiff.runs.store import RunFolder


def test_nothing_that_is_added_meanwhile_is_lost(tmp_path):
    """Two run folders on the same place, as two processes have them: one adds, one tidies."""
    adding, tidying = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    pixel = np.zeros((1, 1, 3), np.uint8)
    stop = threading.Event()

    def tidy():
        while not stop.is_set():
            tidying.tidy([f"im{i}" for i in reversed(range(150))])

    thread = threading.Thread(target=tidy)
    thread.start()
    for i in range(150):
        adding.add(pixel, {"id": f"im{i}", **RECORD})
    stop.set()
    thread.join()
    assert len(adding.records()) == 150


def test_a_record_after_a_torn_line_is_read(tmp_path):
    store = RunFolder(tmp_path)
    store.records_path.write_text('{"id": "torn')
    store.add(np.zeros((1, 1, 3), np.uint8), {"id": "whole", **RECORD})
    assert list(store.records()) == ["whole"]


def test_records_have_a_version(tmp_path):
    """Older ones without a version are read; newer ones are refused in a sentence, and not made again."""
    store = RunFolder(tmp_path)
    store.add(np.zeros((1, 1, 3), np.uint8), {"id": "old", **RECORD})
    assert list(store.records()) == ["old"] and "version" not in RECORD
    store.add(np.zeros((1, 1, 3), np.uint8), {"id": "new", **RECORD, "version": 99})
    with pytest.raises(UserError, match="version 99, and this isdiff reads up to 1; update it"):
        store.records()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a\\b", "a\0b"])
def test_no_id_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="is no file name"):
        RunFolder(tmp_path).image_path(name)
