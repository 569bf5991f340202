"""`python -m embedkit.cli`."""

import sys

from . import main

sys.exit(main())
