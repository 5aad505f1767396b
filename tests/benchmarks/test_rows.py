# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

from rows import append_row, is_done


def test_rows_that_are_there_are_found(tmp_path: Path) -> None:
    path = tmp_path / 'some' / 'rows.csv'
    key = {'method': 'ERM, FiLM', 'shift': 0.5, 'seed': 1}
    assert not is_done(path, key)
    append_row(path, key | {'accuracy': 0.7})
    append_row(path, key | {'seed': 2, 'accuracy': 0.8})
    assert len(path.read_text().splitlines()) == 3
    assert is_done(path, key) and is_done(path, key | {'seed': 2})
    for other in ({'method': 'ERM'}, {'shift': 1.0}, {'seed': 3}):
        assert not is_done(path, key | other)
    # Each value is there, but not in one row.
    append_row(path, key | {'method': 'MoGE', 'seed': 3, 'accuracy': 0.9})
    assert not is_done(path, key | {'seed': 3})
