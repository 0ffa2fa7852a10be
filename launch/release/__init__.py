"""urgentmos-small, from clean speech to model folder."""
