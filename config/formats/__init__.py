"""How each language writes dates. Templates name them: `date:"DATE_FORMAT"`."""
