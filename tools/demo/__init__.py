"""Street scenes drawn by code, stored like the data sets, so that the project runs without data.

Both domains share one distribution of layouts (street.py) and differ as a game and a photograph do
(photograph.py).
"""

from tools.demo.folders import write_demo
from tools.demo.photograph import Scene, draw_scene

__all__ = ["Scene", "draw_scene", "write_demo"]
