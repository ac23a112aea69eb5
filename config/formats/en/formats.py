"""28 Nov 2026, 14:05: the day first and 24 hours, which nobody misreads."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y H:i"
SHORT_DATETIME_FORMAT = "j M H:i"
MONTH_DAY_FORMAT = "j M"
TIME_FORMAT = "H:i"
