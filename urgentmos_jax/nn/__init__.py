"""Building blocks that encoders and model share."""
