"""How a process executes: compiled blocks train like eager ones, settings reach the trials, and bits stay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo
import torch._inductor.config
from torch._dynamo.utils import counters

from model_zoo import ResNetLayout
from search.config import compose
from search.config.changes import CHANGEABLE
from tests.support.cli import ROOT
from tests.support.training_fixtures import (
    CPU,
    LAYOUT,
    assert_same_bits,
    small_recipe,
    small_set,
    small_trainer,
    state_of,
    trained,
)
from trainables import process_settings as execution
from trainables.training import Trainer

SETTINGS: tuple[execution.Compile, ...] = ("off", "blocks")
SCRIPT = """
import json, sys, torch
from pathlib import Path
from tests.support.training_fixtures import *
from torch._dynamo.utils import counters
import trainables.training as training
training.compile_cache = lambda: Path(sys.argv[1])
layout = ResNetLayout((3, 3), (16, 16), (1, 1), classes=4)
recipe = small_recipe(**AUGMENTED, first_image_size=4)
given = {"data": small_set(train=64, val=8, shape=(8, 8, 3)), "layout": layout}
losses = {}
for name in ("off", "blocks"):
    trainer = small_trainer(recipe, epochs=2, compile=name, **given)
    reports = trained(trainer, Path(sys.argv[2]) if name == "blocks" else None)
    losses[name] = [(report.train_loss, report.val_loss) for report in reports]
again = small_trainer(recipe, epochs=2, compile="blocks", **given)
again.load(Path(sys.argv[2]) / "epoch-1")
report = again.train_epoch()
assert_same_bits(state_of(again), state_of(trainer))
names = [name for name, _ in small_trainer(recipe, **given).network.named_parameters()]
print(json.dumps({
    "losses": losses, "graphs": counters["stats"]["unique_graphs"], "resumed": report.val_loss,
    "same_names": names == [name for name, _ in trainer.network.named_parameters()],
}))
"""


@pytest.mark.slow
def test_compiled_blocks_train_like_eager_ones_share_their_compilation_and_resume_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    # torch itself sets the cache's folder where it is imported as a whole, as other tests do in this process
    bare = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "compiled"), str(tmp_path / "trial")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bare | {"PYTHONPATH": str(ROOT)},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for eager, compiled in zip(*found["losses"].values(), strict=True):
        assert eager == pytest.approx(compiled, rel=1e-3)
    assert found["resumed"] == found["losses"]["blocks"][-1][1]
    assert found["graphs"] == 3  # small and full images, and full ones after the resume; no evaluation compiles
    assert found["same_names"]
    assert any((tmp_path / "compiled").iterdir())


@pytest.mark.parametrize("setting", ["auto", "off", "blocks"])
def test_what_is_compiled_is_what_was_asked_for(setting: execution.Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr("trainables.training.compile_blocks", lambda network, cache: compiled.append(network))
    trainer = small_trainer(compile=setting)
    assert compiled == ([trainer.network] if setting == "blocks" else [])
    assert execution.compiles(setting, torch.device("cuda")) == (setting == "blocks")  # not yet measured there


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # which dynamo itself causes
def test_each_network_of_a_process_is_compiled_however_many_came_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block, **how: plain(block, backend="eager", **how))
    monkeypatch.setattr("trainables.training.compile_cache", lambda: tmp_path)
    monkeypatch.setenv(execution.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(execution, "BLOCK_SHAPES", 2)
    compiled = []
    with torch._dynamo.config.patch(recompile_limit=2, accumulated_recompile_limit=3):
        for _ in range(3):
            counters.clear()
            trainer = small_trainer(epochs=2, compile="blocks")
            assert [report.epoch for report in trained(trainer)] == [1, 2]
            compiled.append(counters["stats"]["unique_graphs"])
    assert compiled == [2, 2, 2]  # two shapes of blocks, and no third for the validation's batches
    torch._dynamo.reset()


def test_no_more_processes_compile_than_the_trial_has_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(execution.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 32)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    execution.compile_blocks(small_trainer().network, tmp_path)
    assert torch._inductor.config.compile_threads == 3


def test_how_it_is_executed_is_no_part_of_a_training() -> None:
    assert "compile" not in json.dumps(small_trainer()._identity())
    assert "compile" in CHANGEABLE
    assert compose(None, None, {}, ["compile=blocks"]).compile == "blocks"


def test_the_process_computes_on_as_many_threads_as_it_is_given() -> None:
    before = torch.get_num_threads()
    execution.prepare_process(2, CPU)
    assert torch.get_num_threads() == 2
    execution.prepare_process(before, CPU)


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in execution.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert execution.environment() == execution.ENVIRONMENT
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert execution.environment() == {"GLIBC_TUNABLES": execution.ENVIRONMENT["GLIBC_TUNABLES"]}


@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of glibc and libgomp")
def test_a_training_in_that_environment_keeps_its_memory_and_its_bits(tmp_path: Path) -> None:
    code = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from tests.support.training_fixtures import *\n"
        "data = small_set(train=64, val=8, shape=(32, 32, 3))\n"
        "trainer = small_trainer(small_recipe(batch_size=64), data, layout=ResNetLayout((1, 1), (16, 16)))\n"
        "trainer.train_epoch()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "trained(trainer)\n"
        "trainer.save(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults, files = [], []
    for name, more in (("usual", {}), ("ours", execution.ENVIRONMENT)):
        files.append(tmp_path / name)
        bare = {key: value for key, value in os.environ.items() if key not in execution.ENVIRONMENT}
        done = subprocess.run(
            [sys.executable, "-c", code, str(files[-1])],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=bare | {"PYTHONPATH": str(ROOT)} | more,
        )
        faults.append(int(done.stdout))
    states = []
    for file in files:
        trainer = Trainer(
            ResNetLayout((1, 1), (16, 16)),
            small_recipe(batch_size=64),
            small_set(train=64, val=8, shape=(32, 32, 3)),
            CPU,
            epochs=3,
            seed=5,
        )
        trainer.load(file)
        states.append(state_of(trainer))
    assert_same_bits(*states)
    assert faults[1] * 4 < faults[0]


@pytest.mark.skipif(sys.platform != "linux", reason="the settings are those of glibc and libgomp")
def test_the_next_trial_of_a_process_does_not_hold_what_the_last_one_took() -> None:
    code = (
        "import torch\n"
        "from trainables.process_settings import prepare_process\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "before = resident()\n"
        "tensors = [torch.ones(2**20) for _ in range(100)]\n"
        "most = resident()\n"
        "last = torch.ones(1000)\n"
        "del tensors\n"
        "kept = resident()\n"
        "prepare_process(1, torch.device('cpu'))\n"
        "print(most - before, kept - before, resident() - before)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | execution.ENVIRONMENT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    most, kept, after = map(int, done.stdout.split())
    assert most > 0.9 * 400 * 2**20  # the kernel counts pages a CPU at a time: 418,471,936 bytes were seen
    assert kept > 0.9 * most
    assert after < 0.2 * most


@pytest.mark.gpu
def test_compiled_blocks_on_a_gpu_train_like_eager_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.training.compile_cache", lambda: tmp_path)
    device, recipe = torch.device("cuda"), small_recipe(batch_size=70)
    reports = [Trainer(LAYOUT, recipe, small_set(), device, epochs=1, compile=c).train_epoch() for c in SETTINGS]
    assert reports[0].train_loss == pytest.approx(reports[1].train_loss, rel=0.01)
