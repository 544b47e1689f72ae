"""The types that columns have.

Belongs here: Arrow types by short names. Does not belong here: columns.
"""

from __future__ import annotations

import pyarrow as pa

TEXT, INT, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
INTS, REALS, TEXTS = pa.list_(INT), pa.list_(REAL), pa.list_(TEXT)
