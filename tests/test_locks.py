"""Locks: an owner is seen as running from its start to its end, by every process and at any time."""

import subprocess
import sys
import threading

import pytest

from jsweep.errors import StoreError
from jsweep.storage import locks
from jsweep.storage.locks import is_alive, owner, remove_dead


def test_an_owner_that_is_found_while_it_starts_is_alive(tmp_path, monkeypatch):
    lock, seen = locks._try_lock, []

    def found_first(file):
        monkeypatch.setattr(locks, "_try_lock", lock)
        remove_dead(tmp_path / "folder")  # the file exists and is not locked yet
        seen.append([*(tmp_path / "folder").glob("*")])
        return lock(file)

    monkeypatch.setattr(locks, "_try_lock", found_first)
    with owner(tmp_path / "folder") as name:
        assert seen == [[]]
        assert is_alive(tmp_path / "folder", name)
    assert not is_alive(tmp_path / "folder", name)


def test_no_owner_counts_as_dead_while_others_start_and_end(tmp_path):
    folder, dead, errors = tmp_path / "folder", [], []

    def start_and_end():
        try:
            for _ in range(60):
                with owner(folder) as name:
                    remove_dead(folder)
                    if not is_alive(folder, name):
                        dead.append(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start_and_end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (dead, errors) == ([], [])
    assert not folder.exists()


def test_a_file_system_without_locks_is_refused_in_one_sentence(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "_try_lock", unsupported)
    with pytest.raises(StoreError, match="Operation not supported.*pass another store"), owner(tmp_path / "folder"):
        pass


def test_an_owner_that_cannot_be_looked_at_counts_as_alive(tmp_path, monkeypatch):
    def unreadable(path):
        raise PermissionError(13, "Permission denied")

    with owner(tmp_path / "folder") as name:
        monkeypatch.setattr(locks, "_open_existing", unreadable)
        assert is_alive(tmp_path / "folder", name)


FORKED = """
import os, sys
from pathlib import Path
from jsweep.storage.locks import is_alive, owner

folder = Path(sys.argv[1])
(wait, end), (read, write) = os.pipe(), os.pipe()
sweep = os.fork()
if sweep == 0:  # a process that owns a lock and forks a worker, as a data loader does
    with owner(folder) as name:
        if os.fork() == 0:
            os.write(write, b"x")
            os.read(wait, 1)  # lives until the end of the test
            os._exit(0)
        os.write(write, name.encode())
        os.read(wait, 1)
        os._exit(9)  # a crash: nothing is cleaned up
text = ""
while len(text) < 33:  # the owner's name and an "x" from the worker, in any order
    text += os.read(read, 64).decode()
name = text.replace("x", "")
before = is_alive(folder, name)
os.kill(sweep, 9)
os.waitpid(sweep, 0)
print(before, is_alive(folder, name))
os.write(end, b"x")
"""


def test_an_owner_does_not_outlive_its_process_in_a_forked_one(tmp_path):
    command = [sys.executable, "-c", FORKED, str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
