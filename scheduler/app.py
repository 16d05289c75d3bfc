"""The Celery application of beat: ``celery -A scheduler beat``, any number of them.

The ticks run inside the beat process, not as tasks in workers: a tick that waited behind batches
on a slow server would stop everything, and every step is a conditional write, so that two beats
never do anything twice.
"""

from mailer.broker import make_app
from mailer.settings import load_or_exit

settings = load_or_exit()
app = make_app("scheduler", settings)
app.conf.update(
    beat_scheduler="scheduler.ticks:TickScheduler",
    beat_max_loop_interval=0.2,
    beat_schedule={
        "feed": {"task": "scheduler.feed", "schedule": 0.2},
        "start-due-campaigns": {"task": "scheduler.start_due", "schedule": 0.5},
        "clean": {"task": "scheduler.clean", "schedule": 1.0},
    },
)
