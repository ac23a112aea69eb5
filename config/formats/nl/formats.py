"""28 nov. 2026 14:05: months without a capital, as Dutch writes them."""

DATE_FORMAT = "j N Y"
DATETIME_FORMAT = "j N Y H:i"
SHORT_DATETIME_FORMAT = "j N H:i"
MONTH_DAY_FORMAT = "j N"
TIME_FORMAT = "H:i"
