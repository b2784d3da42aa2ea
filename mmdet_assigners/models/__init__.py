"""Models that several methods share, by type; importing registers them."""

from .backbones import *  # noqa: F403
from .dense_heads import *  # noqa: F403
from .necks import *  # noqa: F403
from .roi_heads import *  # noqa: F403
from .task_modules import *  # noqa: F403
from .test_time_augs import *  # noqa: F403
