"""Exits 0 when this interpreter can be built against and can make virtual environments."""

import importlib.util
import pathlib
import sys
import sysconfig

header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(0 if header.exists() and importlib.util.find_spec("ensurepip") else 1)
