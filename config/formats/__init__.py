"""How each language writes dates, where Django writes them otherwise: named in templates, as in `date:"DATE_FORMAT"`."""
