"""python -m lowrank_la: the command line."""

import sys

from lowrank_la.cli import main

sys.exit(main())
