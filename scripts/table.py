import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from isdiff.cli.table import main

sys.exit(main())
