"""The cache of prepared data sets: several processes, kills, damage, foreign folders, shared memory."""

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import ROOT, session
from trainables.data import load_training_set
from trainables.data.cache import cache_root
from trainables.errors import DatasetError


def start(code: str, *arguments: str | Path) -> "AbstractContextManager[subprocess.Popen[str]]":
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return session(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def lines_of(process: "subprocess.Popen[str]") -> list[str]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return output.splitlines()


LOAD = """
import sys
from trainables.data import load_training_set
sys.stdin.readline()
data = load_training_set("digits", sys.argv[1], on_message=print)
print(len(data.labels), data.sha256)
"""


def test_of_several_processes_one_prepares_and_all_get_the_same(tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(start(LOAD, tmp_path)) for _ in range(3)]
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [lines_of(process) for process in processes]
    assert len({output[-1] for output in outputs}) == 1
    assert sum("stored in" in line for output in outputs for line in output) == 1


HANG = """
import sys, time
from pathlib import Path
from trainables.data.cache import open_part

def prepare(scratch, say):
    (scratch / "half").write_bytes(b"half an archive")
    (scratch.parent / ".digits.partial" / "train_images.npy").write_bytes(b"half an array")
    print("midway", flush=True)
    time.sleep(600)

open_part(Path(sys.argv[1]), "digits", "digits", "train", prepare)
"""


def test_a_process_killed_while_preparing_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    with start(HANG, tmp_path) as process, start(LOAD, tmp_path) as waiting:
        assert process.stdout
        assert process.stdout.readline() == "midway\n"
        assert waiting.stdin
        assert waiting.stdout
        waiting.stdin.write("go\n")  # it then waits for the lock, which the system releases on the kill
        waiting.stdin.flush()
        assert waiting.stdout.readline() == "digits: another process is preparing it; waiting\n"
        process.kill()
        lines = lines_of(waiting)
    assert lines[0] == "digits: an earlier preparation did not finish; starting over"
    assert lines[-1].startswith("1438 ")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".digits.lock", "digits"]


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_a_damaged_copy_is_noticed_and_prepared_anew(tmp_path: Path, name: str, damage: str) -> None:
    intact = load_training_set("digits", tmp_path)
    path = tmp_path / "digits" / name
    content = path.read_bytes()
    path.unlink()  # a file that is cut short while it is mapped, as `intact` has it, ends the process (SIGBUS)
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "short" else b"{}" + content)
    messages: list[str] = []
    data = load_training_set("digits", tmp_path, on_message=messages.append)
    assert "the stored copy is damaged" in messages[0]
    np.testing.assert_array_equal(data.images, intact.images)
    np.testing.assert_array_equal(data.labels, intact.labels)


def test_a_folder_of_another_program_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match=r"holds 'thesis\.tex', which parambudget did not write"):
        load_training_set("digits", tmp_path)
    assert (tmp_path / "digits" / "thesis.tex").read_text() == "years of work"


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatasetError, match=r"digits cannot be stored in .*PARAMBUDGET_DATA"):
        load_training_set("digits", tmp_path / "file")


def test_the_cache_is_where_argument_variable_and_xdg_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("PARAMBUDGET_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == Path("/home/someone/.cache/parambudget/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_root() == Path("/xdg/parambudget/data")
    monkeypatch.setenv("PARAMBUDGET_DATA", "~/sets")
    assert cache_root() == Path("/home/someone/sets")
    assert cache_root("/given") == Path("/given")


def test_meta_says_where_the_data_came_from(tmp_path: Path) -> None:
    data = load_training_set("digits", tmp_path)
    meta = json.loads((tmp_path / "digits" / "meta.json").read_text())
    assert (meta["schema"], meta["source"]) == (1, "scikit-learn's load_digits")
    assert meta["arrays"]["train_images"]["sha256"] == data.sha256


READ_ALL = """
import sys
from trainables.data import load_training_set

def pss_kib():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))

for step in ("before", "after"):
    if step == "after":
        data = load_training_set(sys.argv[1], sys.argv[2], image_size=256)
        print(int(data.images.sum()), data.images.nbytes, flush=True)
        sys.stdin.readline()
    print(pss_kib(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's memory accounts")
def test_four_processes_share_one_copy_of_the_images(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(260):
        path = tmp_path / "pictures" / f"class{i % 2}" / f"{i}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(path)
    images = load_training_set(str(tmp_path / "pictures"), tmp_path / "cache", image_size=256).images
    assert images.nbytes > 40_000_000
    expected = f"{int(images.sum())} {images.nbytes}"
    del images

    with ExitStack() as stack:
        command = (READ_ALL, tmp_path / "pictures", tmp_path / "cache")
        processes = [stack.enter_context(start(*command)) for _ in range(4)]

        def each_says() -> list[str]:
            return [process.stdout.readline().strip() for process in processes if process.stdout]

        def each_goes_on() -> None:
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()

        before = sum(map(int, each_says()))
        each_goes_on()
        assert each_says() == [expected] * 4  # every process has every page mapped now
        each_goes_on()
        after = sum(map(int, each_says()))
        each_goes_on()
        assert [process.wait() for process in processes] == [0] * 4
    copies = (after - before) * 1024 / int(expected.split()[1])
    # One shared copy, and 8 MB in each process of libraries imported on the way: 1.8 measured. Own copies: above 4.
    assert 0.9 < copies < 2.2
