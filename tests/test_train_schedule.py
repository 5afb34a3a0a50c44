"""Which rows a step has, and where they lie: the same on any number of devices, packed or not."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.errors import UsageError
from selfinstruct.train.presets import PRESETS, adapted_modules, get_preset, layout
from selfinstruct.train.schedule import packed, spread, steps_of

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=80)


@given(LENGTHS, st.integers(50, 90))
def test_packing_places_every_row_once_and_fills_well(lengths: list[int], room: int) -> None:
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    items = packed(rows, lengths, room)
    assert sorted(chain.from_iterable(items)) == list(range(len(lengths)))
    fills = [sum(lengths[row] for row in item) for item in items]
    assert max(fills) <= room
    # First fit opens an item only when no earlier one has room: two half-empty ones cannot be.
    assert sum(fill <= room // 2 for fill in fills) <= 1


@given(LENGTHS, st.integers(1, 20), st.integers(1, 3), st.integers(0, 5))
def test_a_steps_rows_do_not_depend_on_packing(
    lengths: list[int], batch: int, epochs: int, seed: int
) -> None:
    alone, together = (
        steps_of(lengths, batch=batch, epochs=epochs, seed=seed, pack_to=room)
        for room in (None, 64)
    )
    assert [sorted(chain.from_iterable(step)) for step in alone] == [
        sorted(chain.from_iterable(step)) for step in together
    ]
    seen = Counter(chain.from_iterable(chain.from_iterable(alone)))
    assert set(seen.values()) == {epochs}
    assert len(seen) == len(lengths)


def test_epochs_differ_and_seeds_too() -> None:
    steps = steps_of([5] * 40, batch=20, epochs=2, seed=0)
    assert steps[:2] != steps[2:]
    assert steps != steps_of([5] * 40, batch=20, epochs=2, seed=1)
    assert steps == steps_of([5] * 40, batch=20, epochs=2, seed=0)


def test_a_part_of_an_epoch_and_a_number_of_steps() -> None:
    assert len(steps_of([5] * 100, batch=10, epochs=0.5, seed=0)) == 5
    assert len(steps_of([5] * 100, batch=10, epochs=0.5, seed=0, steps=23)) == 23


def test_neighbours_are_of_a_length() -> None:
    (step,) = steps_of([9, 1, 8, 2], batch=4, epochs=1, seed=0)
    assert step == [(0,), (2,), (3,), (1,)]


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 16))
def test_whatever_the_devices_a_step_keeps_its_rows(
    batch: int, devices: int, device_batch: int
) -> None:
    found = layout(batch, devices, device_batch)
    assert found.device_batch <= device_batch
    assert batch <= found.slots < batch + devices * found.device_batch
    items = spread([[(row,) for row in range(batch)], [(0,)]], found.slots)
    assert len(items) == 2 * found.slots
    assert [item for item in items if item] == [*((row,) for row in range(batch)), (0,)]


def test_presets_are_what_their_sources_say() -> None:
    alpaca, larger = PRESETS["alpaca-7b-full"], PRESETS["alpaca-13b"]
    assert (alpaca.method, alpaca.batch, alpaca.max_tokens) == ("full", 128, 512)
    assert (alpaca.learning_rate, alpaca.epochs, alpaca.warmup) == (2e-5, 3, 0.03)
    assert (larger.learning_rate, larger.epochs) == (1e-5, 5)
    belle = PRESETS["belle-lora"]
    assert (belle.lora_r, belle.lora_alpha, belle.learning_rate) == (16, 32, 3e-4)
    chinese = PRESETS["chinese-alpaca-lora"]
    assert (chinese.lora_r, chinese.learning_rate, chinese.embeddings) == (8, 1e-4, True)


def test_what_the_user_gives_goes_over_the_preset() -> None:
    assert get_preset("belle-lora").changed(batch=32, epochs=None).batch == 32
    for given_value in ({"batch": 0}, {"learning_rate": -1.0}, {"method": "prefix"}):
        with pytest.raises(UsageError):
            get_preset("default").changed(**given_value)
    with pytest.raises(UsageError, match="known: default, alpaca-7b-full"):
        get_preset("alpaca")


def test_lora_adapts_what_the_architecture_has() -> None:
    llama = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}
    assert len(adapted_modules("llama", llama)) == 7
    assert adapted_modules("bloom", {"query_key_value", "dense"}) == ["query_key_value"]
    assert adapted_modules("gpt2", {"c_attn"}) == "all-linear"
