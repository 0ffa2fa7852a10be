"""The UrgentMOS model: fusion, transformers, pooling, heads, and the model folder."""
