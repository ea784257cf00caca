"""An owner is alive from its first breath to its last, whoever looks, and whenever."""

import threading

import pytest

from jsweep.errors import StoreError
from jsweep.storage import locks
from jsweep.storage.locks import is_alive, others_alive, owner


def test_an_owner_that_another_meets_while_it_starts_is_alive_all_the_same(tmp_path, monkeypatch):
    lock, met = locks._try_lock, []

    def looked_at_first(file):
        monkeypatch.setattr(locks, "_try_lock", lock)
        met.append(others_alive(tmp_path / "folder", "another"))  # the file is there, the lock not yet
        return lock(file)

    monkeypatch.setattr(locks, "_try_lock", looked_at_first)
    with owner(tmp_path / "folder") as name:
        assert met == [False]
        assert is_alive(tmp_path / "folder", name)
        assert others_alive(tmp_path / "folder", "another")
    assert not is_alive(tmp_path / "folder", name)


def test_owners_come_and_go_in_one_folder_and_none_is_taken_for_dead(tmp_path):
    folder, dead, errors = tmp_path / "folder", [], []

    def come_and_go():
        try:
            for _ in range(60):
                with owner(folder) as name:
                    others_alive(folder, name)
                    if not is_alive(folder, name):
                        dead.append(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (dead, errors) == ([], [])
    assert not folder.exists()


def test_a_file_system_without_locks_is_told_in_a_sentence(tmp_path, monkeypatch):
    def unsupported(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "_try_lock", unsupported)
    with pytest.raises(StoreError, match="Operation not supported.*give another store"), owner(tmp_path / "folder"):
        pass
