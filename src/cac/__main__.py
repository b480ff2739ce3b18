"""`python -m cac` is the command `cac`, for where the environment's `bin` folder is not on the path."""

import sys

from cac.cli.main import main

sys.exit(main())
