"""The forecasts of one contender, in a process of its own: `python -m benchmarks.forecasting CONTENDER FOLDER`.

The folder has the tables of `station_table`; the forecasts are written to `CONTENDER.npz` in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.forecasting.scores import write_forecasts

name, folder = sys.argv[1], Path(sys.argv[2])
contender = CONTENDERS[name]
write_forecasts(folder / f"{name}.npz", contender.load().forecasts(folder, contender.variant))
