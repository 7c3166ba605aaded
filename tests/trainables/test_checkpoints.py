"""Checkpoints: whole or not there, bound to their training, and never run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from model_zoo import ResNetLayout, build
from tests.support.examples import examples
from tests.support.training_fixtures import (
    LAYOUT,
    assert_same_bits,
    small_recipe,
    small_set,
    small_trainer,
    state_of,
    timeless,
)
from trainables.checkpoints import files as checkpoints
from trainables.errors import CheckpointError
from trainables.recipe import Optimizer
from trainables.training import Trainer

EPOCHS = 4
SAVES_UNTIL_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from trainables.checkpoints import files as checkpoints

torch.set_num_threads(1)
path = Path(sys.argv[1])
draw = random.Random(1)
network = torch.nn.Linear(1000, 1000)  # 4 MB, so that most kills fall into a write
optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
for life in range(10):
    saver = os.fork()
    if saver == 0:
        for number in range(1000 * life, 1000 * life + 1000):
            for parameter in network.parameters():
                parameter.data.fill_(number)
            checkpoints.save(path, network, optimizer, {"life": life}, {"epoch": number})
        os._exit(0)
    before = path.stat().st_ino if path.exists() else None
    while not path.exists() or path.stat().st_ino == before:
        assert os.waitpid(saver, os.WNOHANG) == (0, 0), "it died by itself"
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.05))
    os.kill(saver, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(saver, 0)[1]) == -signal.SIGKILL
    header, tensors = checkpoints.read(path)
    values = {float(value) for tensor in tensors.values() for value in (tensor.min(), tensor.max())}
    print(life, header["report"], header["identity"], values)
"""


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def saved(folder: Path, **changes: Any) -> tuple[Trainer, Path]:
    trainer = small_trainer(small_recipe(**changes), epochs=EPOCHS)
    trainer.train_epoch()
    path = folder / "checkpoints" / "trial.safetensors"
    trainer.save(path)
    return trainer, path


def refusal(path: Path, trainer: Trainer | None = None) -> str:
    with pytest.raises(CheckpointError) as raised:
        (trainer or small_trainer(epochs=EPOCHS)).load(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "; remove it" in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_what_was_saved_is_loaded(optimizer: str, tmp_path: Path) -> None:
    trainer, path = saved(tmp_path, optimizer=optimizer, learning_rate=0.01)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    other = small_trainer(trainer.recipe, epochs=EPOCHS)
    other.load(path)
    assert_same_bits(state_of(other), state_of(trainer))
    assert (other.epoch, other.last_report) == (1, trainer.last_report)
    path.unlink()  # what was loaded does not hang on the file
    other.train_epoch()


def test_the_header_tells_the_format_the_training_and_its_last_report(tmp_path: Path) -> None:
    trainer, path = saved(tmp_path)
    trainer.train_epoch()
    trainer.save(path)
    header, tensors = checkpoints.read(path)
    assert header["format"] == checkpoints.FORMAT
    identity, report = json.loads(header["identity"]), json.loads(header["report"])
    assert ResNetLayout.from_dict(identity["layout"]) == LAYOUT
    assert identity["recipe"] == trainer.recipe.model_dump() | {"epochs": EPOCHS, "seed": trainer.seed}
    assert report["epoch"] == 2
    assert report | timeless(trainer.last_report) == report
    assert {name.split("/")[0] for name in tensors} == {"network", "optimizer"}


def test_weights_alone_are_loaded_into_a_bare_network(tmp_path: Path) -> None:
    trainer, path = saved(tmp_path)
    network = build(LAYOUT, seed=99)
    checkpoints.load_weights(path, network)
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    with pytest.raises(CheckpointError, match=r"holds another network \(.*head.*\); remove it$"):
        checkpoints.load_weights(path, build(ResNetLayout(LAYOUT.blocks, LAYOUT.channels, classes=7)))


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "trial.safetensors"
    command = [sys.executable, "-W", "ignore", "-c", SAVES_UNTIL_KILLED, str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.splitlines()
    assert len(lines) == 10
    for life, line in enumerate(lines):
        number = json.loads(line[line.index("{") : line.index("}") + 1])["epoch"]
        assert 1000 * life <= number < 1000 * (life + 1)
        assert line == f'{life} {{"epoch": {number}}} {{"life": {life}}} {{{float(number)}}}'


def test_half_a_file_left_by_a_kill_is_not_taken_and_the_next_save_removes_it(tmp_path: Path) -> None:
    trainer, path = saved(tmp_path)
    left = path.with_name(f".{path.name}.123456.tmp")
    left.write_bytes(path.read_bytes()[:1000])
    foreign = path.with_name(".trial-2.safetensors.123456.tmp")
    foreign.write_bytes(b"of another trial")
    other = small_trainer(trainer.recipe, epochs=EPOCHS)
    other.load(path)
    assert_same_bits(state_of(other), state_of(trainer))
    trainer.save(path)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, foreign.name}


def test_a_training_without_an_epoch_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epoch 0: nothing to save; train an epoch first"):
        small_trainer().save(tmp_path / "trial.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    whole, trainer = path.read_bytes(), small_trainer(epochs=EPOCHS)

    @examples(60)
    @given(end=st.integers(0, len(whole) - 1))
    def cut(end: int) -> None:
        path.write_bytes(whole[:end])
        assert "not readable as a checkpoint" in refusal(path, trainer)

    cut()


def test_any_other_content_is_refused(tmp_path: Path) -> None:
    path, trainer = tmp_path / "trial.safetensors", small_trainer()

    @examples(60)
    @given(content=st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
    def take(content: bytes) -> None:
        path.write_bytes(content)
        assert str(path) in refusal(path, trainer)

    take()


def test_a_changed_header_is_no_other_error_than_a_checkpoints(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    whole = bytearray(path.read_bytes())
    end = 8 + int.from_bytes(whole[:8], "little")
    other = small_trainer(epochs=EPOCHS)

    @examples(200)
    @given(position=st.integers(0, end - 1), value=st.integers(0, 255) | st.sampled_from(b'/019,":{}[]x'))
    def flip(position: int, value: int) -> None:
        changed = whole.copy()
        changed[position] = value
        path.write_bytes(changed)
        try:
            other.load(path)
        except CheckpointError:
            assert str(path) in refusal(path, other)

    flip()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "absent.safetensors" in refusal(tmp_path / "absent.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "folder.safetensors" in refusal(tmp_path / "folder.safetensors")


def test_safetensors_of_someone_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert "format None, expected 'parambudget-checkpoint-1'" in refusal(path)
    for report in ("{", "[]", "null"):
        save_file({"weight": torch.zeros(3)}, path, {"format": checkpoints.FORMAT, "identity": "{}", "report": report})
        assert "its report is damaged" in refusal(path)


def test_a_checkpoint_of_another_training_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    decayed = small_recipe(weight_decay=1e-3)
    others = [
        ("layout", small_trainer(layout=ResNetLayout((1, 1), (4, 8), classes=4, skip_kernel=3), epochs=EPOCHS)),
        ("recipe", small_trainer(decayed, epochs=EPOCHS)),
        ("recipe", small_trainer(epochs=EPOCHS, seed=6)),
        ("rungs", small_trainer(epochs=EPOCHS, rungs=(2, EPOCHS))),
        ("data", small_trainer(data=small_set(train=60), epochs=EPOCHS)),
        ("recipe, rungs", small_trainer(decayed, epochs=5)),
    ]
    for difference, trainer in others:
        before = state_of(trainer)
        message = refusal(path, trainer)
        where = f"{path}: belongs to another training, which differs in its {difference}"
        assert message == f"{where}; remove it to train from the start"
        assert_same_bits(state_of(trainer), before)
        assert trainer.epoch == 0


@pytest.mark.parametrize("name", ["optimizer/x/momentum_buffer", "optimizer/1", "optimizer/1/a/b", "optimizer//b"])
def test_a_damaged_optimizer_state_is_refused_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    trainer, path = saved(tmp_path)
    header, tensors = checkpoints.read(path)
    save_file({**tensors, name: torch.zeros(1)}, path, header)
    other = small_trainer(trainer.recipe, epochs=EPOCHS)
    before = state_of(other)
    assert f"its optimizer's state is damaged ('{name}')" in refusal(path, other)
    assert_same_bits(state_of(other), before)


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    trainer, path = saved(tmp_path)
    checkpoints.save(path, trainer.network, trainer.optimizer, trainer._identity(), {"epoch": 1, "accuracy": 0.5})
    assert "its report has another version" in refusal(path)


def test_a_pickle_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "trial.safetensors", tmp_path / "ran"
    for write in (torch.save, lambda value, file: Path(file).write_bytes(pickle.dumps(value))):
        write({"network/head.bias": Payload(trace)}, path)
        assert "not readable as a checkpoint" in refusal(path)
        assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.is_dir()  # it would have run
